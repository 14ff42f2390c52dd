//! Mapping of a failed turn, `codexErrorInfo` and message, to the domain's error.
//! The kinds are those of `CodexErrorInfo` in the schema of Codex 0.171; a kind of a later version is a failure of the
//! provider, unless its HTTP status says more.

use std::time::Duration;

use serde_json::Value;

use super::provider::{provider_message, refusal, refusal_in_text};
use crate::codex::app_server::wire::TurnFailure;
use crate::turn::{FinishReason, Outcome, TurnError, Usage};

/// Returns the outcome of a turn with the status `failed`.
pub(in crate::codex::app_server) fn outcome(
    failure: &TurnFailure,
    usage: Option<Usage>,
    quota_reset: Option<Duration>,
) -> Outcome {
    match incomplete(&failure.message) {
        Some(stop) => Outcome::Completed { stop, usage },
        None => Outcome::Failed(turn_error(failure, quota_reset)),
    }
}

/// Returns the finish reason of a response that the provider ended early. The text so far is the client's response.
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
    if let Some(policy) = policy_of(kind) {
        let message = policy_message(&failure.message);
        return TurnError::PolicyViolation { policy, message };
    }
    // Kinds before statuses: 400 and 429 also occur with kinds that say more.
    match (kind, status) {
        ("contextWindowExceeded", _) => TurnError::ContextLength,
        ("modelNotFound", _) => TurnError::ModelNotFound(provider_message(&failure.message)),
        ("usageLimitExceeded", _) => TurnError::QuotaExceeded {
            retry_after: quota_reset,
        },
        ("rateLimitExceeded", _) | (_, Some(429)) => TurnError::ProviderRateLimited,
        ("serverOverloaded", _) | (_, Some(503)) => TurnError::ProviderOverloaded,
        ("unauthorized", _) | (_, Some(401 | 403)) => TurnError::Unauthorized,
        ("policyCapacityUnavailable", _) => TurnError::PolicyCapacity,
        ("flexUnavailable", _) => TurnError::FlexUnavailable,
        ("sessionBudgetExceeded", _) => TurnError::BudgetExceeded,
        ("tooManyDenials", _) => TurnError::TooManyDenials,
        ("sandboxError", _) => TurnError::SandboxFailed,
        // Answers to calls that the sidecar never makes.
        ("threadRollbackFailed" | "activeTurnNotSteerable", _) => TurnError::Protocol,
        ("badRequest", _) | (_, Some(400..=499)) => TurnError::rejected(refusal(&failure.message)),
        ("other", None) if failure.message.starts_with("Missing environment variable") => {
            TurnError::Unavailable
        }
        // Codex reports a refused request like any other failure; only the text tells.
        ("other", None) => match refusal_in_text(&failure.message) {
            Some(refusal) => TurnError::rejected(refusal),
            None => TurnError::ProviderFailed,
        },
        _ => TurnError::ProviderFailed,
    }
}

/// Returns the subject of the policy that the kind is about.
fn policy_of(kind: &str) -> Option<&'static str> {
    match kind {
        "cyberPolicy" => Some("cyber security"),
        "bioPolicy" => Some("biology"),
        "misalignmentPolicyViolation" => Some("misalignment"),
        "inferenceHookDenied" => Some("inference hook"),
        _ => None,
    }
}

/// Returns the provider's sentence about a policy, or advice if the provider sent none.
fn policy_message(message: &str) -> String {
    match provider_message(message).trim() {
        "" => "change the request, since a retry is refused again".to_owned(),
        sentence => sentence.to_owned(),
    }
}

/// Splits `codexErrorInfo`, which is a kind, or an object with the kind as its only key and the HTTP status inside.
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
    fn each_error_kind_of_codex_maps_to_a_turn_error() {
        use TurnError::{
            BudgetExceeded, ContextLength, FlexUnavailable, ModelNotFound, PolicyCapacity,
            Protocol, ProviderFailed, ProviderOverloaded, ProviderRateLimited, QuotaExceeded,
            Rejected, SandboxFailed, TooManyDenials, Unauthorized, Unavailable,
        };
        const REFUSED_MODEL: &str =
            "The 'x' model is not supported when using Codex with a ChatGPT account.";
        for (info, message, error) in [
            (r#""contextWindowExceeded""#, "too long", ContextLength),
            (
                r#""modelNotFound""#,
                "no such model",
                ModelNotFound("no such model".into()),
            ),
            (
                r#"{"httpConnectionFailed":{"httpStatusCode":400}}"#,
                REFUSED_MODEL,
                ModelNotFound(REFUSED_MODEL.into()),
            ),
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
            (r#""policyCapacityUnavailable""#, "", PolicyCapacity),
            (r#""flexUnavailable""#, "", FlexUnavailable),
            (r#""sessionBudgetExceeded""#, "", BudgetExceeded),
            (r#""tooManyDenials""#, "", TooManyDenials),
            (r#""sandboxError""#, "", SandboxFailed),
            (r#""threadRollbackFailed""#, "", Protocol),
            (
                r#"{"activeTurnNotSteerable":{"turnKind":"review"}}"#,
                "",
                Protocol,
            ),
            (r#""aVariantOfTomorrow""#, "?", ProviderFailed),
            ("null", "?", ProviderFailed),
        ] {
            check(info, message, &Outcome::Failed(error));
        }
    }

    #[test]
    fn policies_are_named_with_the_sentence_of_the_provider() {
        for (kind, message, expected) in [
            (
                "cyberPolicy",
                r#"{"error":{"message":"Flagged."}}"#,
                "cyber security policy: Flagged.",
            ),
            ("bioPolicy", "Flagged.", "biology policy: Flagged."),
            (
                "misalignmentPolicyViolation",
                "",
                "misalignment policy: change the request, since a retry is refused again",
            ),
            (
                "inferenceHookDenied",
                "Not in this workspace.",
                "inference hook policy: Not in this workspace.",
            ),
        ] {
            let failure = TurnFailure {
                message: message.to_owned(),
                codex_error_info: kind.into(),
            };
            let text = turn_error(&failure, None).to_string();
            assert!(text.ends_with(expected), "{text}");
        }
    }

    #[test]
    fn response_ended_early_by_the_provider_is_completed() {
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
