//! Whether what a client got is an honest end: its own text whole, or an error that says so.
//! OpenAI API reference, "Chat completions"; an error frame is `data: {"error":{...}}`.

use serde_json::Value;

/// What came over the wire.
#[derive(Debug)]
pub(super) struct Received {
    /// `None` when the connection ended before the head.
    pub(super) status: Option<u16>,
    pub(super) body: Vec<u8>,
    /// Whether HTTP says that the body is complete.
    pub(super) complete: bool,
}

/// An end that a client can trust.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// The whole text, and the word that it is whole.
    Finished,
    /// An HTTP error with this status and code.
    Refused(u16, String),
    /// A stream's last frame is an error with this code.
    Failed(String),
    /// HTTP says that something is missing. Honest, but allowed only when the sidecar was killed.
    BrokenOff,
}

/// Judges what the client got who should have got `canary`.
///
/// # Errors
/// What is wrong with it.
pub(super) fn judge(received: &Received, streamed: bool, canary: &str) -> Result<Outcome, String> {
    let body = String::from_utf8_lossy(&received.body);
    match received.status {
        None => Ok(Outcome::BrokenOff),
        Some(200) if streamed => stream(&body, received.complete, canary),
        Some(_) if !received.complete => Ok(Outcome::BrokenOff),
        Some(200) => gathered(&body, canary),
        Some(status) => {
            let code =
                code(&body).ok_or_else(|| format!("status {status} with {}", head(&body)))?;
            Ok(Outcome::Refused(status, code))
        }
    }
}

fn gathered(body: &str, canary: &str) -> Result<Outcome, String> {
    let answer: Value = serde_json::from_str(body).unwrap_or_default();
    let choice = &answer["choices"][0];
    if choice["message"]["content"] == canary && choice["finish_reason"] == "stop" {
        Ok(Outcome::Finished)
    } else {
        Err(format!(
            "not the client's own text, or not all: {}",
            head(body)
        ))
    }
}

fn stream(body: &str, complete: bool, canary: &str) -> Result<Outcome, String> {
    let whole_events = body.rsplit_once("\n\n").map_or("", |(events, _cut)| events);
    let events = whole_events.split("\n\n");
    let data: Vec<_> = events
        .filter_map(|event| event.strip_prefix("data: "))
        .collect();
    let text: String = data.iter().filter_map(|data| delta(data)).collect();
    if !canary.starts_with(&text) {
        return Err(format!("not the client's own text: {}", head(&text)));
    }
    let last = data.last().copied().unwrap_or_default();
    match (last, code(last)) {
        ("[DONE]", _) if text == canary => Ok(Outcome::Finished),
        ("[DONE]", _) => {
            let (got, all) = (text.len(), canary.len());
            Err(format!("[DONE] after {got} of {all} bytes of text"))
        }
        (_, Some(code)) => Ok(Outcome::Failed(code)),
        (_, None) if complete => Err(format!("it ends as if all was said after {}", head(last))),
        (_, None) => Ok(Outcome::BrokenOff),
    }
}

fn delta(data: &str) -> Option<String> {
    let chunk: Value = serde_json::from_str(data).ok()?;
    let content = chunk["choices"][0]["delta"]["content"].as_str();
    content.map(str::to_owned)
}

/// The code of an error in OpenAI's shape.
fn code(body: &str) -> Option<String> {
    let body: Value = serde_json::from_str(body).ok()?;
    let error = body["error"].as_object()?;
    let is_told = error["message"].is_string() && error["type"].is_string();
    let code = error["code"].as_str().filter(|_| is_told);
    code.map(str::to_owned)
}

/// Enough of a text to recognise it.
fn head(text: &str) -> String {
    format!("{:?}", text.chars().take(200).collect::<String>())
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
        let judged = judge(&received, streamed, "canary");
        assert_eq!(judged.as_ref().ok(), expected, "{judged:?}");
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
