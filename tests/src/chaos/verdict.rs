//! Whether what a client got is an honest end: its own text whole, or an error that says so.
//! The contract's section 2, "Errors": a failure never looks like a success; what an answer says is read in `answer`.

use std::time::Duration;

use tokio::time::sleep;

use super::answer::{Answer, Dialect, End, code};
use crate::http::Stream;

/// Pause of a slow reader after each piece.
const SLOW: Duration = Duration::from_millis(60);

/// What came over the wire.
#[derive(Debug)]
pub(crate) struct Received {
    /// `None` when the connection ended before the head.
    pub(crate) status: Option<u16>,
    pub(crate) body: Vec<u8>,
    /// Whether HTTP says that the body is complete.
    pub(crate) complete: bool,
}

impl Outcome {
    /// The code of the error that it is.
    pub(crate) fn code(&self) -> Option<&str> {
        match self {
            Self::Refused(_, code) | Self::Failed(code) => Some(code),
            Self::Finished | Self::BrokenOff => None,
        }
    }
}

impl Received {
    /// The connection ended before the head.
    pub(crate) fn nothing() -> Self {
        Self {
            status: None,
            body: Vec::new(),
            complete: false,
        }
    }

    /// Reads to the end, whatever that is.
    pub(crate) async fn read(mut stream: Stream, slow: bool) -> Self {
        let mut received = Self::nothing();
        received.status = Some(stream.status.as_u16());
        while let Ok(piece) = stream.next().await {
            let Some(piece) = piece else {
                received.complete = true;
                break;
            };
            received.body.extend_from_slice(&piece.data);
            if slow {
                sleep(SLOW).await;
            }
        }
        received
    }
}

/// An end that a client can trust.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// The whole text, and the word that it is whole.
    Finished,
    /// An HTTP error with this status and code.
    Refused(u16, String),
    /// A stream's last frame is an error with this code.
    Failed(String),
    /// HTTP says that something is missing. Honest, but allowed only when the sidecar was killed.
    BrokenOff,
}

/// What a client may be told, if all goes well.
#[derive(Debug, Clone)]
pub(crate) enum Expected {
    /// This text and no other.
    Text(String),
    /// A text in which this occurs.
    Quote(String),
    /// A call with these arguments, and no text.
    Call(String),
}

/// Judges what the client got who should have got what is expected. What it said comes with an honest end.
///
/// # Errors
/// What is wrong with it.
pub(crate) fn judge(
    received: &Received,
    dialect: Dialect,
    streamed: bool,
    expected: &Expected,
) -> Result<(Outcome, Answer), String> {
    let body = String::from_utf8_lossy(&received.body);
    let outcome = match received.status {
        None => Outcome::BrokenOff,
        Some(200) if streamed => {
            let answer = dialect.read_stream(&body);
            return Ok((stream(&answer, received.complete, expected, &body)?, answer));
        }
        Some(_) if !received.complete => Outcome::BrokenOff,
        Some(200) => {
            let answer = dialect.read_whole(&body);
            if answer.end != End::Whole {
                return Err(format!("it does not say that it is whole: {}", head(&body)));
            }
            expected.check(&answer)?;
            return Ok((Outcome::Finished, answer));
        }
        Some(status) => {
            let code = code(&serde_json::from_str(&body).unwrap_or_default());
            let code = code.ok_or_else(|| format!("status {status} with {}", head(&body)))?;
            Outcome::Refused(status, code)
        }
    };
    Ok((outcome, Answer::default()))
}

fn stream(
    answer: &Answer,
    complete: bool,
    expected: &Expected,
    body: &str,
) -> Result<Outcome, String> {
    if !expected.allows_begun(&answer.text) {
        return Err(format!("not the client's own text: {}", head(&answer.text)));
    }
    match &answer.end {
        End::Whole => expected.check(answer).map(|()| Outcome::Finished),
        End::Failed(code) => Ok(Outcome::Failed(code.clone())),
        End::Unsaid if complete => Err(format!("it ends as if all was said: {}", tail(body))),
        End::Unsaid => Ok(Outcome::BrokenOff),
    }
}

impl Expected {
    /// Whether a text that breaks off here may be its beginning.
    fn allows_begun(&self, begun: &str) -> bool {
        match self {
            Self::Text(text) => text.starts_with(begun),
            Self::Quote(_) => true,
            Self::Call(_) => begun.is_empty(),
        }
    }

    /// An answer that calls itself whole is so.
    fn check(&self, answer: &Answer) -> Result<(), String> {
        let is_met = match self {
            Self::Text(text) => answer.text == *text && answer.call.is_none(),
            Self::Quote(quote) => answer.text.contains(quote),
            Self::Call(arguments) => {
                answer.text.is_empty() && answer.call.as_ref() == Some(arguments)
            }
        };
        if is_met {
            return Ok(());
        }
        let (bytes, text) = (answer.text.len(), head(&answer.text));
        Err(format!(
            "not the client's own, or not all, in {bytes} bytes: {text}"
        ))
    }
}

/// Enough of a text to recognise it.
fn head(text: &str) -> String {
    format!("{:?}", text.chars().take(200).collect::<String>())
}

/// Enough of a stream to see how it ended.
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
    fn check(streamed: bool, status: u16, body: &str, complete: bool, expected: Option<&Outcome>) {
        let received = Received {
            status: Some(status),
            body: body.into(),
            complete,
        };
        let canary = Expected::Text("canary".into());
        let judged = judge(&received, Dialect::Chat, streamed, &canary);
        let outcome = judged.as_ref().ok().map(|(outcome, _)| outcome);
        assert_eq!(outcome, expected, "{judged:?}");
    }

    #[test]
    fn a_stream_is_whole_or_says_what_is_wrong() {
        let (can, ary) = (text("can"), text("ary"));
        let failed = || Some(Outcome::Failed("codex_failed".into()));
        for (data, complete, expected) in [
            (
                &[ROLE, &can, &ary, "[DONE]"][..],
                true,
                Some(Outcome::Finished),
            ),
            (&[ROLE, &can, ERROR], true, failed()),
            (&[ROLE, &can], false, Some(Outcome::BrokenOff)),
            (&[ROLE, &can, "[DONE]"], true, None),
            (&[ROLE, &can, &ary], true, None),
            (&[], true, None),
            (&[ROLE, &text("other"), ERROR], true, None),
        ] {
            check(true, 200, &frames(data), complete, expected.as_ref());
        }
        let cut = frames(&[ROLE, &can]) + "data: {\"cho";
        check(true, 200, &cut, false, Some(&Outcome::BrokenOff));
        check(true, 200, &cut, true, None);
    }

    #[test]
    fn a_gathered_answer_is_whole_or_an_error() {
        let answer = |text: &str| {
            format!(
                r#"{{"choices":[{{"message":{{"content":"{text}"}},"finish_reason":"stop"}}]}}"#
            )
        };
        let refused = Outcome::Refused(502, "codex_failed".into());
        check(
            false,
            200,
            &answer("canary"),
            true,
            Some(&Outcome::Finished),
        );
        check(false, 200, &answer("can"), true, None);
        check(false, 200, "", true, None);
        check(false, 200, "{", false, Some(&Outcome::BrokenOff));
        check(false, 502, ERROR, true, Some(&refused));
        check(false, 502, "upstream connect error", true, None);
    }
}
