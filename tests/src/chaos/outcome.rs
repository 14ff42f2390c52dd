//! The outcome of a request: the client's own text, complete, or an error.
//! The contract's section 2, "Errors": a failure never looks like a success. `parsed_response` reads the content.

use std::time::Duration;

use tokio::time::sleep;

use super::parsed_response::{Ending, Endpoint, ParsedResponse, code};
use crate::http::StreamedResponse;

/// Pause of a slow reader after each chunk.
const SLOW: Duration = Duration::from_millis(60);

/// A response as it arrived.
#[derive(Debug)]
pub(crate) struct ReceivedResponse {
    /// `None` if the connection ended before the head.
    pub(crate) status: Option<u16>,
    pub(crate) body: Vec<u8>,
    /// Whether the body is complete by HTTP's framing.
    pub(crate) complete: bool,
}

impl RequestOutcome {
    /// The code of an error outcome.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Rejected(_, code) | Self::Failed(code) => Some(code),
            Self::Finished | Self::BrokenOff => None,
        }
    }
}

impl ReceivedResponse {
    /// A connection that ended before the head.
    pub(crate) fn no_head() -> Self {
        Self {
            status: None,
            body: Vec::new(),
            complete: false,
        }
    }

    /// Reads a response to its end, or to the failure of the connection.
    pub(crate) async fn read(mut stream: StreamedResponse, slow: bool) -> Self {
        let mut received = Self::no_head();
        received.status = Some(stream.status.as_u16());
        while let Ok(chunk) = stream.next().await {
            let Some(chunk) = chunk else {
                received.complete = true;
                break;
            };
            received.body.extend_from_slice(&chunk.data);
            if slow {
                sleep(SLOW).await;
            }
        }
        received
    }
}

/// An outcome that the contract allows.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum RequestOutcome {
    /// The complete text, marked as complete.
    Finished,
    /// An HTTP error with this status and code.
    Rejected(u16, String),
    /// A stream that ends with an error event of this code.
    Failed(String),
    /// An incomplete HTTP body. Clients detect it, but it is allowed only if the sidecar was killed.
    BrokenOff,
}

/// The expected output of a successful request.
#[derive(Debug, Clone)]
pub(crate) enum ExpectedOutput {
    /// Exactly this text.
    Text(String),
    /// A text that contains this one.
    Quote(String),
    /// A tool call with these arguments, and no text.
    Call(String),
}

/// Compares a response with the expected output; returns the outcome and the parsed response.
///
/// # Errors
/// Describes the violation.
pub(crate) fn evaluate(
    received: &ReceivedResponse,
    endpoint: Endpoint,
    streamed: bool,
    expected: &ExpectedOutput,
) -> Result<(RequestOutcome, ParsedResponse), String> {
    let body = String::from_utf8_lossy(&received.body);
    let outcome = match received.status {
        None => RequestOutcome::BrokenOff,
        Some(200) if streamed => {
            let response = endpoint.parse_stream(&body);
            return Ok((
                stream(&response, received.complete, expected, &body)?,
                response,
            ));
        }
        Some(_) if !received.complete => RequestOutcome::BrokenOff,
        Some(200) => {
            let response = endpoint.parse_body(&body);
            if response.end != Ending::Complete {
                return Err(format!("not marked as complete: {}", head(&body)));
            }
            expected.check(&response)?;
            return Ok((RequestOutcome::Finished, response));
        }
        Some(status) => {
            let code = code(&serde_json::from_str(&body).unwrap_or_default())
                .ok_or_else(|| format!("status {status} with {}", head(&body)))?;
            RequestOutcome::Rejected(status, code)
        }
    };
    Ok((outcome, ParsedResponse::default()))
}

fn stream(
    response: &ParsedResponse,
    complete: bool,
    expected: &ExpectedOutput,
    body: &str,
) -> Result<RequestOutcome, String> {
    if !expected.allows_prefix(&response.text) {
        return Err(format!("text of another request: {}", head(&response.text)));
    }
    match &response.end {
        Ending::Complete => expected.check(response).map(|()| RequestOutcome::Finished),
        Ending::Failed(code) => Ok(RequestOutcome::Failed(code.clone())),
        Ending::Unmarked if complete => Err(format!(
            "complete by HTTP, but without an end marker: {}",
            tail(body)
        )),
        Ending::Unmarked => Ok(RequestOutcome::BrokenOff),
    }
}

impl ExpectedOutput {
    /// Whether `prefix` may be the beginning of the expected text.
    fn allows_prefix(&self, prefix: &str) -> bool {
        match self {
            Self::Text(text) => text.starts_with(prefix),
            Self::Quote(_) => true,
            Self::Call(_) => prefix.is_empty(),
        }
    }

    /// Checks a response that is marked as complete.
    fn check(&self, response: &ParsedResponse) -> Result<(), String> {
        let is_met = match self {
            Self::Text(text) => response.text == *text && response.call.is_none(),
            Self::Quote(quote) => response.text.contains(quote),
            Self::Call(arguments) => {
                response.text.is_empty() && response.call.as_ref() == Some(arguments)
            }
        };
        if is_met {
            return Ok(());
        }
        let (bytes, text) = (response.text.len(), head(&response.text));
        Err(format!("wrong or incomplete text of {bytes} bytes: {text}"))
    }
}

/// The start of a text, for a message.
fn head(text: &str) -> String {
    format!("{:?}", text.chars().take(200).collect::<String>())
}

/// The end of a stream, for a message.
fn tail(text: &str) -> String {
    let last: Vec<_> = text.chars().rev().take(200).collect();
    format!("{:?}", last.iter().rev().collect::<String>())
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROLE: &str = r#"{"choices":[{"delta":{"role":"assistant"}}]}"#;
    const ERROR: &str = r#"{"error":{"message":"m","type":"server_error","code":"codex_failed"}}"#;

    fn frames(data: &[&str]) -> String {
        data.iter()
            .map(|data| format!("data: {data}\n\n"))
            .collect()
    }

    fn text(text: &str) -> String {
        format!(r#"{{"choices":[{{"delta":{{"content":"{text}"}}}}]}}"#)
    }

    #[track_caller]
    fn check(
        streamed: bool,
        status: u16,
        body: &str,
        complete: bool,
        expected: Option<&RequestOutcome>,
    ) {
        let received = ReceivedResponse {
            status: Some(status),
            body: body.into(),
            complete,
        };
        let expected_output = ExpectedOutput::Text("marker".into());
        let evaluated = evaluate(&received, Endpoint::Chat, streamed, &expected_output);
        let outcome = evaluated.as_ref().ok().map(|(outcome, _)| outcome);
        assert_eq!(outcome, expected, "{evaluated:?}");
    }

    #[test]
    fn stream_is_complete_or_an_error_or_a_violation() {
        let (first, second) = (text("mar"), text("ker"));
        let failed = || Some(RequestOutcome::Failed("codex_failed".into()));
        for (data, complete, expected) in [
            (
                &[ROLE, &first, &second, "[DONE]"][..],
                true,
                Some(RequestOutcome::Finished),
            ),
            (&[ROLE, &first, ERROR], true, failed()),
            (&[ROLE, &first], false, Some(RequestOutcome::BrokenOff)),
            (&[ROLE, &first, "[DONE]"], true, None),
            (&[ROLE, &first, &second], true, None),
            (&[], true, None),
            (&[ROLE, &text("other"), ERROR], true, None),
        ] {
            check(true, 200, &frames(data), complete, expected.as_ref());
        }
        let cut = frames(&[ROLE, &first]) + "data: {\"cho";
        check(true, 200, &cut, false, Some(&RequestOutcome::BrokenOff));
        check(true, 200, &cut, true, None);
    }

    #[test]
    fn buffered_response_is_complete_or_an_error_or_a_violation() {
        let response = |text: &str| {
            format!(
                r#"{{"choices":[{{"message":{{"content":"{text}"}},"finish_reason":"stop"}}]}}"#
            )
        };
        let rejected = RequestOutcome::Rejected(502, "codex_failed".into());
        check(
            false,
            200,
            &response("marker"),
            true,
            Some(&RequestOutcome::Finished),
        );
        check(false, 200, &response("mar"), true, None);
        check(false, 200, "", true, None);
        check(false, 200, "{", false, Some(&RequestOutcome::BrokenOff));
        check(false, 502, ERROR, true, Some(&rejected));
        check(false, 502, "upstream connect error", true, None);
    }
}
