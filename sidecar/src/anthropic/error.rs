//! Errors in Anthropic's shape: status, type, message, and the stable code under `details`.
//! Anthropic API reference, "Errors"; `details.error_code` as in the types of its SDK.

use http::StatusCode;
use serde::Serialize;

use crate::openai::ApiError;
use crate::openai::response::json::to_json;
use crate::turn::Usage;

/// Code of a conversation that is longer than the model's context.
const CONTEXT_LENGTH_EXCEEDED: &str = "context_length_exceeded";

/// Status of a service that is overloaded, which http has no name for.
const OVERLOADED: u16 = 529;

#[derive(Serialize)]
struct ErrorBody<'a> {
    r#type: &'static str,
    error: ErrorFields<'a>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<&'a str>,
}

#[derive(Serialize)]
struct ErrorFields<'a> {
    r#type: &'static str,
    message: String,
    details: ErrorDetails<'a>,
}

#[derive(Serialize)]
struct ErrorDetails<'a> {
    /// The code that the OpenAI routes have in `code`.
    error_code: &'a str,
}

/// Returns the status of an error on the routes of the Messages API: 529 for an overload, which clients wait out.
pub fn status(error: &ApiError) -> StatusCode {
    if error.is_overload() {
        StatusCode::from_u16(OVERLOADED).unwrap_or(error.status)
    } else {
        error.status
    }
}

/// Returns the body of an error, also that of the event `error` in a stream.
pub fn error_body(error: &ApiError, request_id: Option<&str>) -> Vec<u8> {
    to_json(&ErrorBody {
        r#type: "error",
        error: ErrorFields {
            r#type: kind(status(error)),
            message: message(error),
            details: ErrorDetails {
                error_code: error.code(),
            },
        },
        request_id,
    })
}

/// Returns the error of a prompt over the operator's limit, in the words that clients search for. Both numbers are
/// estimates in tokens.
pub fn prompt_too_long(tokens: u64, max: u64) -> ApiError {
    let text = format!("prompt is too long: {tokens} tokens > {max} maximum");
    ApiError::bad_request(CONTEXT_LENGTH_EXCEEDED, text)
}

/// Completes the error of a turn: a conversation over the model's context window is told in the words of
/// [`prompt_too_long`], since clients compact a conversation by them. Codex does not report the tokens, so that the number
/// is the estimate, and at least one more than the window.
pub(super) fn in_words(error: ApiError, window: Option<u64>, prompt_chars: usize) -> ApiError {
    if error.code() != CONTEXT_LENGTH_EXCEEDED {
        return error;
    }
    match window {
        Some(window) => {
            let estimate = Usage::estimate(prompt_chars, 0).input_tokens;
            prompt_too_long(estimate.max(window + 1), window)
        }
        None => {
            let text =
                "prompt is too long: the conversation exceeds the model's context; shorten it.";
            ApiError::bad_request(CONTEXT_LENGTH_EXCEEDED, text)
        }
    }
}

/// Returns Anthropic's type of an error with this status.
fn kind(status: StatusCode) -> &'static str {
    match status.as_u16() {
        401 => "authentication_error",
        403 => "permission_error",
        404 => "not_found_error",
        429 => "rate_limit_error",
        504 => "timeout_error",
        OVERLOADED => "overloaded_error",
        400..=499 => "invalid_request_error",
        _ => "api_error",
    }
}

/// Returns the message, which begins with the path of the field: the format has no `param`. Paths have dots, such as
/// `messages.3.content`.
fn message(error: &ApiError) -> String {
    let fields = error.fields();
    let Some(param) = fields.param else {
        return fields.message.to_owned();
    };
    let dotted = dotted(param);
    let named = fields.message.replace(param, &dotted);
    if named.contains(&format!("`{dotted}`")) {
        named
    } else {
        format!("{dotted}: {named}")
    }
}

/// Writes `messages[3].content` as `messages.3.content`.
fn dotted(param: &str) -> String {
    param.replace("[]", "").replace('[', ".").replace(']', "")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::TurnError;

    fn body(error: &ApiError) -> String {
        String::from_utf8(error_body(error, Some("r1"))).unwrap()
    }

    #[test]
    fn error_body_has_anthropics_shape_and_dotted_paths() {
        let error = ApiError::unsupported("messages[3].content[0].type", "Unsupported.");
        let expected = r#"{"type":"error","error":{"type":"invalid_request_error","message":"messages.3.content.0.type: Unsupported.","details":{"error_code":"unsupported_value"}},"request_id":"r1"}"#;
        assert_eq!(body(&error), expected);
        let named = ApiError::invalid("`a[0].b` must be a string, not 7.").at("a[0].b");
        assert!(body(&named).contains(r#""message":"`a.0.b` must be a string, not 7.""#));
    }

    #[test]
    fn each_status_has_its_type() {
        for (error, status_code, kind) in [
            (TurnError::ProviderOverloaded, 529, "overloaded_error"),
            (TurnError::PolicyCapacity, 529, "overloaded_error"),
            (TurnError::FlexUnavailable, 529, "overloaded_error"),
            (TurnError::Starting, 503, "api_error"),
            (TurnError::LoginRequired, 503, "api_error"),
            (TurnError::ProviderFailed, 502, "api_error"),
            (TurnError::Busy, 429, "rate_limit_error"),
            (TurnError::OutOfMemory, 413, "invalid_request_error"),
            (TurnError::ModelNotFound("x".into()), 404, "not_found_error"),
            (
                TurnError::Deadline(crate::turn::Deadline::Idle),
                504,
                "timeout_error",
            ),
        ] {
            let api = ApiError::from(error.clone());
            assert_eq!(status(&api).as_u16(), status_code, "{error:?}");
            assert!(
                body(&api).contains(&format!(r#""error":{{"type":"{kind}""#)),
                "{error:?}"
            );
        }
        let memory = ApiError::from(crate::turn::MemoryExceeded::Total);
        assert_eq!(status(&memory).as_u16(), 529);
    }

    #[test]
    fn overlong_conversation_is_told_in_the_words_that_clients_search_for() {
        for (window, chars, words) in [
            (
                Some(272_000),
                8,
                "prompt is too long: 272001 tokens > 272000 maximum",
            ),
            (
                Some(100),
                4000,
                "prompt is too long: 1000 tokens > 100 maximum",
            ),
            (None, 8, "prompt is too long: the conversation"),
        ] {
            let error = in_words(TurnError::ContextLength.into(), window, chars);
            assert!(error.fields().message.starts_with(words), "{error:?}");
            assert_eq!(
                error.fields().param,
                None,
                "clients match the whole message"
            );
        }
    }
}
