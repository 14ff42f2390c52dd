//! Mapping of the text of an `error` event to the domain's error; Codex 0.42 reports no code.
//! The texts are those that Codex 0.42 was seen to write for each response of the model service.

use std::time::Duration;

use serde_json::Value;

use crate::turn::TurnError;

/// Returns the error that `message` describes. `quota_reset` is the time until the plan's rate limits reset, by the
/// windows that the child reported.
pub(super) fn turn_error(message: &str, quota_reset: Option<Duration>) -> TurnError {
    if message.contains("hit your usage limit") {
        return TurnError::QuotaExceeded {
            retry_after: quota_reset.or_else(|| announced_reset(message)),
        };
    }
    if let Some((_, status)) = message.split_once("last status: ") {
        return rejected(status, "");
    }
    if let Some((_, rejection)) = message.split_once("unexpected status ") {
        let (status, body) = rejection.split_once(": ").unwrap_or((rejection, ""));
        return rejected(status, body);
    }
    if is_context_length(message) {
        TurnError::ContextLength
    } else if message.contains("Rate limit reached") {
        TurnError::ProviderRateLimited
    } else if message.contains("Missing environment variable") {
        TurnError::Unavailable
    } else {
        // "high demand" stands for any 5xx, and "stream disconnected" for an aborted stream or `response.failed`.
        TurnError::ProviderFailed
    }
}

fn is_context_length(text: &str) -> bool {
    text.contains("context window") || text.contains("context_length_exceeded")
}

/// Returns the error of a provider's response with a status such as `404 Not Found` and a body.
fn rejected(status: &str, body: &str) -> TurnError {
    let code = status.split(' ').next().unwrap_or_default();
    match code.parse::<u16>() {
        Ok(401 | 403) => TurnError::Unauthorized,
        Ok(429) => TurnError::ProviderRateLimited,
        Ok(503) => TurnError::ProviderOverloaded,
        Ok(400..=499) if is_context_length(body) => TurnError::ContextLength,
        Ok(404) if body.contains("model_not_found") => {
            TurnError::ModelNotFound(provider_message(body, status))
        }
        Ok(400..=499) => TurnError::rejected(provider_message(body, status)),
        Ok(_) | Err(_) => TurnError::ProviderFailed,
    }
}

/// Returns the provider's own sentence, which the client can act on; the status if the body has none.
fn provider_message(body: &str, status: &str) -> String {
    let body: Value = serde_json::from_str(body).unwrap_or_default();
    let sentence = body
        .pointer("/error/message")
        .or_else(|| body.get("detail"));
    sentence
        .and_then(Value::as_str)
        .unwrap_or(status)
        .to_owned()
}

/// Parses the wait in "... or try again in 3 days 2 hours 1 minute.", which may also be a sentence of its own.
fn announced_reset(message: &str) -> Option<Duration> {
    let (_, wait) = message.split_once("again in ")?;
    let words: Vec<&str> = wait.split([' ', '.', ',']).collect();
    let mut seconds = 0;
    for pair in words.windows(2) {
        let unit = match pair[1].trim_end_matches('s') {
            "day" => 24 * 60 * 60,
            "hour" => 60 * 60,
            "minute" => 60,
            "second" => 1,
            _ => continue,
        };
        seconds += pair[0].parse::<u64>().ok()?.checked_mul(unit)?;
    }
    (seconds > 0).then(|| Duration::from_secs(seconds))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_error_text_of_codex_maps_to_a_turn_error() {
        use TurnError::{
            ContextLength, ModelNotFound, ProviderFailed, ProviderOverloaded, ProviderRateLimited,
            Rejected, Unauthorized, Unavailable,
        };
        for (message, expected) in [
            (
                "exceeded retry limit, last status: 401 Unauthorized",
                Unauthorized,
            ),
            (
                "exceeded retry limit, last status: 429 Too Many Requests",
                ProviderRateLimited,
            ),
            (
                "exceeded retry limit, last status: 503 Service Unavailable",
                ProviderOverloaded,
            ),
            (
                r#"unexpected status 400 Bad Request: {"error": {"message": "No such tool."}}"#,
                Rejected("No such tool.".into()),
            ),
            (
                r#"unexpected status 400 Bad Request: {"detail":"Instructions are not valid"}"#,
                Rejected("Instructions are not valid".into()),
            ),
            (
                r#"unexpected status 400 Bad Request: {"error":{"code":"context_length_exceeded"}}"#,
                ContextLength,
            ),
            (
                r#"unexpected status 404 Not Found: {"error":{"code":"model_not_found"}}"#,
                ModelNotFound("404 Not Found".into()),
            ),
            (
                "unexpected status 413 Payload Too Large: <html>",
                Rejected("413 Payload Too Large".into()),
            ),
            (
                "unexpected status 418 I'm a teapot",
                Rejected("418 I'm a teapot".into()),
            ),
            (
                "stream disconnected before completion: Your input exceeds the context window of this model.",
                ContextLength,
            ),
            (
                "stream disconnected before completion: Rate limit reached for gpt-5.",
                ProviderRateLimited,
            ),
            (
                "We're currently experiencing high demand, which may cause temporary errors.",
                ProviderFailed,
            ),
            (
                "stream disconnected before completion: stream closed before response.completed",
                ProviderFailed,
            ),
            (
                "error sending request for url (http://127.0.0.1:9/v1/responses)",
                ProviderFailed,
            ),
            (
                "Missing environment variable: `MYKEY`. set MYKEY",
                Unavailable,
            ),
        ] {
            assert_eq!(turn_error(message, None), expected, "{message}");
        }
    }

    #[test]
    fn exhausted_plan_reports_its_reset() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        for (wait, reported, expected) in [
            ("Try again in 1 hour.", None, seconds(3600)),
            (
                "Upgrade or try again in 3 days 2 hours 1 minute.",
                None,
                seconds(266_460),
            ),
            ("Try again in 1 hour.", seconds(90), seconds(90)),
            ("Try again later.", None, None),
        ] {
            let message = format!("You've hit your usage limit. {wait}");
            let retry_after = expected;
            let expected = TurnError::QuotaExceeded { retry_after };
            assert_eq!(turn_error(&message, reported), expected, "{wait}");
        }
    }
}
