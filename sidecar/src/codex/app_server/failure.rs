//! What a failed turn means: `codexErrorInfo` and message of the child -> the domain's error.
//! The classes are those that Codex 0.169 was seen to report for each answer of the model service.

use std::time::Duration;

use serde_json::Value;

use super::wire::TurnFailure;
use crate::turn::{FinishReason, Outcome, TurnError, Usage};

/// How a turn ended whose status is `failed`.
pub(super) fn outcome(
    failure: &TurnFailure,
    usage: Option<Usage>,
    quota_reset: Option<Duration>,
) -> Outcome {
    match incomplete(&failure.message) {
        Some(stop) => Outcome::Completed { stop, usage },
        None => Outcome::Failed(turn_error(failure, quota_reset)),
    }
}

/// The provider ended the response early and said so: the text that came is the answer.
fn incomplete(message: &str) -> Option<FinishReason> {
    let (_, reason) = message.split_once("Incomplete response returned, reason: ")?;
    match reason.trim() {
        "max_output_tokens" => Some(FinishReason::Length),
        "content_filter" => Some(FinishReason::ContentFilter),
        _ => None,
    }
}

fn turn_error(failure: &TurnFailure, quota_reset: Option<Duration>) -> TurnError {
    let (kind, status) = kind_and_status(&failure.codex_error_info);
    match (kind, status) {
        ("contextWindowExceeded", _) => TurnError::ContextLength,
        ("modelNotFound", _) => TurnError::ModelNotFound,
        ("usageLimitExceeded", _) => TurnError::QuotaExceeded {
            retry_after: quota_reset,
        },
        ("rateLimitExceeded", _) | (_, Some(429)) => TurnError::ProviderRateLimited,
        ("serverOverloaded", _) | (_, Some(503)) => TurnError::ProviderOverloaded,
        ("unauthorized", _) | (_, Some(401 | 403)) => TurnError::Unauthorized,
        ("cyberPolicy" | "badRequest", _) | (_, Some(400..=499)) => {
            TurnError::Rejected(provider_message(&failure.message))
        }
        ("other", None) if is_json_error(&failure.message) => {
            TurnError::Rejected(provider_message(&failure.message))
        }
        ("other", None) if failure.message.starts_with("Missing environment variable") => {
            TurnError::Unavailable
        }
        _ => TurnError::ProviderFailed,
    }
}

/// `codexErrorInfo` is a word, or an object with the word as its only key and the HTTP status inside.
fn kind_and_status(info: &Value) -> (&str, Option<u64>) {
    match info {
        Value::String(kind) => (kind, None),
        Value::Object(fields) => fields.iter().next().map_or(("", None), |(kind, detail)| {
            (
                kind.as_str(),
                detail.get("httpStatusCode").and_then(Value::as_u64),
            )
        }),
        _ => ("", None),
    }
}

fn is_json_error(message: &str) -> bool {
    inner_message(message).is_some()
}

/// A refused request has the provider's body as its message, or its sentence between Codex's words for the status
/// and the provider's address, which is none of a client's business.
fn provider_message(message: &str) -> String {
    let said = message.strip_prefix("unexpected status ");
    let said = said.and_then(|said| said.split_once(": "));
    let said = said.map_or(message, |(_status, said)| said);
    let said = said.split_once(", url: ").map_or(said, |(said, _)| said);
    inner_message(said).unwrap_or_else(|| said.to_owned())
}

fn inner_message(message: &str) -> Option<String> {
    let body: Value = serde_json::from_str(message).ok()?;
    let inner = body
        .pointer("/error/message")
        .or_else(|| body.get("detail"))?;
    inner.as_str().map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(info: &str, message: &str, expected: &Outcome) {
        let failure = TurnFailure {
            message: message.to_owned(),
            codex_error_info: serde_json::from_str(info).unwrap(),
        };
        assert_eq!(outcome(&failure, None, None), *expected, "{info} {message}");
    }

    #[test]
    fn each_class_of_the_child_has_its_own_error() {
        use TurnError::{
            ContextLength, ModelNotFound, ProviderFailed, ProviderOverloaded, ProviderRateLimited,
            QuotaExceeded, Rejected, Unauthorized, Unavailable,
        };
        for (info, message, error) in [
            (r#""contextWindowExceeded""#, "too long", ContextLength),
            (r#""modelNotFound""#, "no such model", ModelNotFound),
            (
                r#""usageLimitExceeded""#,
                "You've hit your usage limit.",
                QuotaExceeded { retry_after: None },
            ),
            (r#""rateLimitExceeded""#, "slow down", ProviderRateLimited),
            (
                r#"{"responseTooManyFailedAttempts":{"httpStatusCode":429}}"#,
                "exceeded retry limit",
                ProviderRateLimited,
            ),
            (r#""serverOverloaded""#, "busy", ProviderOverloaded),
            (
                r#"{"httpConnectionFailed":{"httpStatusCode":503}}"#,
                "",
                ProviderOverloaded,
            ),
            (
                r#"{"httpConnectionFailed":{"httpStatusCode":401}}"#,
                "",
                Unauthorized,
            ),
            (
                r#"{"httpConnectionFailed":{"httpStatusCode":413}}"#,
                "unexpected status 413 Payload Too Large: too large, url: http://10.0.0.1/v1, request id: 7",
                Rejected("too large".into()),
            ),
            (
                r#""other""#,
                "Missing environment variable: `KEY`.",
                Unavailable,
            ),
            (
                r#"{"httpConnectionFailed":{"httpStatusCode":null}}"#,
                "refused",
                ProviderFailed,
            ),
            (r#""internalServerError""#, "500", ProviderFailed),
            (
                r#""other""#,
                "stream disconnected before completion: x",
                ProviderFailed,
            ),
            (
                r#""other""#,
                r#"{"error":{"message":"bad image"}}"#,
                Rejected("bad image".into()),
            ),
            (r#""aVariantOfTomorrow""#, "?", ProviderFailed),
            ("null", "?", ProviderFailed),
        ] {
            check(info, message, &Outcome::Failed(error));
        }
    }

    #[test]
    fn an_answer_that_the_provider_cut_is_an_answer() {
        for (reason, stop) in [
            ("max_output_tokens", FinishReason::Length),
            ("content_filter", FinishReason::ContentFilter),
        ] {
            let message = format!("Incomplete response returned, reason: {reason}");
            check(
                r#""other""#,
                &message,
                &Outcome::Completed { stop, usage: None },
            );
        }
    }
}
