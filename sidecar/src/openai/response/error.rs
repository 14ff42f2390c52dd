//! Errors in wire format: status, OpenAI's error body, and retry advice.
//! OpenAI API reference, "Error codes"; the only place that maps an error to a status.

use std::borrow::Cow;
use std::time::Duration;

use http::StatusCode;
use serde::Serialize;

use super::field_names::FieldNames;
use crate::store::ArchiveError;
use crate::store::ledger::UsageError;
use crate::turn::{Deadline, MemoryExceeded, NotAdmitted, Outcome, RequestField, TurnError};

/// Code for a conversation that is longer than the model's context.
const CONTEXT_LENGTH_EXCEEDED: &str = "context_length_exceeded";

/// Type and code of a used-up plan.
const INSUFFICIENT_QUOTA: &str = "insufficient_quota";

/// The `x-should-retry` header of an error, which OpenAI's SDKs and Envoy's retry policy in `envoy.yaml` obey.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retry {
    /// Without the header: the status decides.
    Unspecified,
    /// `false`: the client must not retry by itself, even if the status suggests a retry.
    Never,
    /// `true`: the request has not been started, so a retry cannot run a turn twice.
    Safe,
}

/// An error of the API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    /// The HTTP status, unless a stream has already begun with 200.
    pub status: StatusCode,
    /// The wait before a retry, for `retry-after`.
    pub retry_after: Option<Duration>,
    /// The advice of `x-should-retry`.
    pub retry: Retry,
    /// The allowed methods of the path, for a 405.
    pub allow: Option<&'static str>,
    /// The reason for which a turn got no permit, for `x-codex-edge-limit`.
    pub not_admitted: Option<NotAdmitted>,
    /// Whether a service is overloaded, for the formats with a status of its own for that.
    is_overload: bool,
    kind: &'static str,
    code: Cow<'static, str>,
    /// The part of the request that the error is about, until the wire format names it in `param`.
    field: Option<RequestField>,
    param: Option<String>,
    message: Box<str>,
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorFields<'a>,
}

/// The fields of an error in wire format.
#[derive(Debug, Clone, Copy, Serialize)]
pub(crate) struct ErrorFields<'a> {
    pub(crate) message: &'a str,
    #[serde(rename = "type")]
    pub(crate) kind: &'a str,
    pub(crate) param: Option<&'a str>,
    pub(crate) code: &'a str,
}

impl ApiError {
    fn new(
        status: StatusCode,
        kind: &'static str,
        code: &'static str,
        message: impl Into<String>,
    ) -> Self {
        Self {
            status,
            retry_after: None,
            retry: Retry::Unspecified,
            allow: None,
            not_admitted: None,
            is_overload: false,
            kind,
            code: Cow::Borrowed(code),
            field: None,
            param: None,
            message: message.into().into(),
        }
    }

    /// 400: the body or a field is invalid.
    pub fn bad_request(code: &'static str, message: impl Into<String>) -> Self {
        Self::new(
            StatusCode::BAD_REQUEST,
            "invalid_request_error",
            code,
            message,
        )
    }

    /// 400: a field is invalid.
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::bad_request("invalid_request_error", message)
    }

    /// 400: a value that the OpenAI API accepts and Codex cannot honour.
    pub fn unsupported(param: impl Into<String>, message: impl Into<String>) -> Self {
        Self::bad_request("unsupported_value", message).at(param)
    }

    /// 400: a field that another route of the OpenAI API has; the message names the field of this route.
    pub(crate) fn unsupported_parameter(
        param: impl Into<String>,
        message: impl Into<String>,
    ) -> Self {
        Self::bad_request("unsupported_parameter", message).at(param)
    }

    /// 400: the prompt exceeds the operator's limit. Both numbers are estimates in tokens.
    pub fn prompt_too_long(tokens: u64, max: u64) -> Self {
        let message = format!(
            "This deployment's maximum context length is {max} tokens, and the prompt has about {tokens}; shorten it and try again."
        );
        Self::bad_request("context_length_exceeded", message)
    }

    /// 403: the client's key does not permit the request.
    pub fn permission_denied(message: &str) -> Self {
        Self::new(
            StatusCode::FORBIDDEN,
            "permission_error",
            "permission_denied",
            message,
        )
    }

    /// 500: a failure of the sidecar, which its log explains.
    pub fn internal(message: &str) -> Self {
        Self::new(
            StatusCode::INTERNAL_SERVER_ERROR,
            "server_error",
            "internal_error",
            message,
        )
    }

    /// 403: the client's key does not include the model.
    pub fn model_not_allowed(id: &str) -> Self {
        Self::not_allowed(&format!("the model {id}"))
    }

    /// 403: the client's key includes the model, but not with this effort.
    pub fn effort_not_allowed(id: &str, effort: &str) -> Self {
        Self::not_allowed(&format!(
            "the model {id} with the reasoning effort {effort}"
        ))
    }

    fn not_allowed(use_of: &str) -> Self {
        let message = format!(
            "This API key may not use {use_of}; GET /v1/models lists the models that it may use."
        );
        let error = Self::new(
            StatusCode::FORBIDDEN,
            "permission_error",
            "model_not_allowed",
            message,
        );
        error.at("model")
    }

    /// 404: the model is unknown, or the client may not use it.
    pub fn model_not_found(id: &str) -> Self {
        let message = format!("The model {id} does not exist or you do not have access to it.");
        let error = Self::new(
            StatusCode::NOT_FOUND,
            "invalid_request_error",
            "model_not_found",
            message,
        );
        error.at("model")
    }

    /// 404: the response is unknown, has expired, or belongs to another client.
    pub fn response_not_found(id: &str) -> Self {
        let message = format!("Response with id '{id}' not found.");
        Self::new(
            StatusCode::NOT_FOUND,
            "invalid_request_error",
            "response_not_found",
            message,
        )
    }

    /// 400: the client cancelled the response.
    pub fn response_cancelled() -> Self {
        Self::bad_request("response_cancelled", "The response was cancelled.")
    }

    /// 404: unknown path.
    pub fn unknown_url(method: &str, path: &str) -> Self {
        let message = format!(
            "Unknown request URL: {method} {path}. The API is under /v1; the README lists its routes."
        );
        Self::new(
            StatusCode::NOT_FOUND,
            "invalid_request_error",
            "unknown_url",
            message,
        )
    }

    /// 405: the path has other methods.
    pub fn method_not_allowed(method: &str, allow: &'static str) -> Self {
        let message = format!("{method} is not allowed here; use one of {allow}.");
        let status = StatusCode::METHOD_NOT_ALLOWED;
        let mut error = Self::new(
            status,
            "invalid_request_error",
            "method_not_allowed",
            message,
        );
        error.allow = Some(allow);
        error
    }

    /// 408: the body did not arrive in time, or ended early.
    pub fn body_incomplete() -> Self {
        let message = "The request body ended before it was complete; send it again.";
        Self::new(
            StatusCode::REQUEST_TIMEOUT,
            "invalid_request_error",
            "request_incomplete",
            message,
        )
    }

    /// 413: the body is larger than this deployment accepts.
    pub fn body_too_large(max_bytes: usize) -> Self {
        let message =
            format!("The request body is larger than {max_bytes} bytes; shorten the conversation.");
        Self::new(
            StatusCode::PAYLOAD_TOO_LARGE,
            "invalid_request_error",
            "request_too_large",
            message,
        )
    }

    /// 415: the body is not JSON, or has an unknown encoding.
    pub fn unsupported_media_type(message: &str) -> Self {
        Self::new(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "invalid_request_error",
            "unsupported_media_type",
            message,
        )
    }

    /// 503: the sidecar is shutting down.
    pub fn shutting_down() -> Self {
        Self::unavailable(
            "codex_unavailable",
            "The server is shutting down; try again.".to_owned(),
        )
    }

    /// 503: the sidecar is draining and has not begun the request, so that its successor can serve a retry.
    pub fn draining() -> Self {
        Self {
            retry: Retry::Safe,
            ..Self::shutting_down()
        }
    }

    // Every 503 has a `retry-after`, since all of them pass without a change of the request.
    fn unavailable(code: &'static str, message: String) -> Self {
        Self::new(
            StatusCode::SERVICE_UNAVAILABLE,
            "server_error",
            code,
            message,
        )
        .after(Duration::from_secs(1))
    }

    /// The state that several sidecars share does not answer.
    fn state_unavailable() -> Self {
        let message =
            "The shared state of the sidecars does not answer; try again in some seconds.";
        Self::unavailable("state_unavailable", message.to_owned()).after(Duration::from_secs(5))
    }

    /// Sets `param`, the path of the invalid field, such as `messages[3].content`.
    #[must_use]
    pub fn at(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Completes the error of a turn: `param` by the names of the wire format, and, where the conversation is too long,
    /// the tokens of the model's context window, in the words that clients search for.
    #[must_use]
    pub(crate) fn in_format(mut self, names: &FieldNames, window: Option<u64>) -> Self {
        if let Some(field) = self.field {
            self.param = Some(names.name(field).to_owned());
        }
        if let Some(tokens) = window
            && self.code == CONTEXT_LENGTH_EXCEEDED
        {
            self.message = format!(
                "This model's maximum context length is {tokens} tokens, and the conversation has more; shorten it and try again."
            )
            .into();
        }
        self
    }

    fn after(mut self, wait: Duration) -> Self {
        self.retry_after = Some(wait);
        self
    }

    /// Whether the error is an overload of this deployment or of the provider.
    pub fn is_overload(&self) -> bool {
        self.is_overload
    }

    /// Returns the stable code.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// Returns the fields in wire format.
    pub(crate) fn fields(&self) -> ErrorFields<'_> {
        ErrorFields {
            message: &self.message,
            kind: self.kind,
            param: self.param.as_deref(),
            code: &self.code,
        }
    }

    /// Returns the JSON body, `{"error":{…}}`.
    pub fn body(&self) -> Vec<u8> {
        let body = ErrorBody {
            error: self.fields(),
        };
        serde_json::to_vec(&body).expect("strings always serialise")
    }
}

impl From<MemoryExceeded> for ApiError {
    fn from(exceeded: MemoryExceeded) -> Self {
        match exceeded {
            MemoryExceeded::ClientShare => Self::new(
                StatusCode::TOO_MANY_REQUESTS,
                "rate_limit_error",
                "client_memory_exceeded",
                "The requests of this API key that are still being received or queued hold its share of this deployment's memory; wait until one of them has started, or send fewer at a time.",
            )
            .after(Duration::from_secs(1)),
            // `Safe`: the body was not read, so that a retry cannot run a turn twice.
            MemoryExceeded::Total => Self {
                retry: Retry::Safe,
                is_overload: true,
                ..Self::unavailable(
                    "memory_exceeded",
                    "The requests of all clients hold this deployment's memory for bodies; try again shortly, or ask the operator to raise `PROXY_BODY_MEMORY_MIB`.".to_owned(),
                )
            },
        }
    }
}

impl From<UsageError> for ApiError {
    fn from(_: UsageError) -> Self {
        Self::state_unavailable()
    }
}

impl From<ArchiveError> for ApiError {
    fn from(_: ArchiveError) -> Self {
        Self::state_unavailable()
    }
}

impl From<TurnError> for ApiError {
    fn from(error: TurnError) -> Self {
        const RATE_LIMIT: &str = "rate_limit_error";
        const OTHER_MODEL: &str = "Choose another model of GET /v1/models; the operator selects the \
            one behind `codex-5` with CODEX_MODEL.";
        let message = sentence(&error.to_string());
        let failed =
            |code, message| Self::new(StatusCode::BAD_GATEWAY, "server_error", code, message);
        let limited =
            |code, message| Self::new(StatusCode::TOO_MANY_REQUESTS, RATE_LIMIT, code, message);
        // Every variant is named, so that a new failure cannot get a status by accident.
        match error {
            TurnError::ContextLength => Self {
                field: Some(RequestField::Conversation),
                ..Self::bad_request(CONTEXT_LENGTH_EXCEEDED, message)
            },
            TurnError::Rejected(refusal) | TurnError::RefusedByCodex(refusal) => {
                let invalid = Self::invalid(message);
                Self {
                    code: refusal.code.map_or(invalid.code, Cow::Owned),
                    field: refusal.field,
                    ..invalid
                }
            }
            TurnError::PolicyViolation { .. } => Self::invalid(message),
            TurnError::ToolsUnsupported(_) => Self::unsupported("tools", message),
            // Not 502: nothing failed, and a retry is refused again.
            TurnError::ModelNotFound(_) => Self::new(
                StatusCode::NOT_FOUND,
                "invalid_request_error",
                "model_not_found",
                format!("{message} {OTHER_MODEL}"),
            )
            .at("model"),
            TurnError::ToolNotCalled | TurnError::UnexpectedToolCall => {
                failed("codex_failed", message)
            }
            // `Never`: the SDKs retry a 429 by themselves, and every attempt fails until the limit resets.
            TurnError::QuotaExceeded { retry_after } => Self {
                retry_after,
                retry: Retry::Never,
                // OpenAI's type too: clients tell a used-up plan from a rate by either.
                kind: INSUFFICIENT_QUOTA,
                ..limited(INSUFFICIENT_QUOTA, message)
            },
            TurnError::KeyBudgetSpent { retry_after, .. } => Self {
                retry_after: Some(retry_after),
                retry: Retry::Never,
                kind: INSUFFICIENT_QUOTA,
                ..limited(INSUFFICIENT_QUOTA, message)
            },
            TurnError::KeyBudgetReserved(_) => {
                limited("budget_reserved", message).after(Duration::from_secs(1))
            }
            TurnError::LedgerUnavailable => {
                Self::unavailable("budget_unavailable", message).after(Duration::from_secs(5))
            }
            TurnError::ProviderRateLimited => {
                limited("rate_limited", message).after(Duration::from_secs(5))
            }
            TurnError::NotAdmitted(reason) => Self {
                not_admitted: Some(reason),
                ..limited("concurrency_exceeded", message).after(Duration::from_secs(1))
            },
            TurnError::Busy => {
                limited("concurrency_exceeded", message).after(Duration::from_secs(1))
            }
            TurnError::ProviderOverloaded
            | TurnError::PolicyCapacity
            | TurnError::FlexUnavailable => Self {
                is_overload: true,
                ..Self::unavailable("codex_unavailable", message).after(Duration::from_secs(5))
            },
            TurnError::Unauthorized | TurnError::LoginRequired => {
                Self::unavailable("codex_login_required", message).after(Duration::from_secs(30))
            }
            // `Safe`: the turn was not started, so Envoy may retry on another sidecar.
            TurnError::Starting => Self {
                retry: Retry::Safe,
                ..Self::unavailable("codex_starting", message)
            },
            TurnError::Unavailable | TurnError::SandboxUnavailable => {
                Self::unavailable("codex_unavailable", message).after(Duration::from_secs(10))
            }
            TurnError::AgentsBusy => limited("agents_busy", message).after(Duration::from_secs(5)),
            TurnError::WorkspaceFull => Self {
                retry: Retry::Never,
                ..failed("agent_folder_full", message)
            },
            TurnError::TooManyProcesses => Self {
                retry: Retry::Never,
                ..failed("agent_processes_exceeded", message)
            },
            TurnError::AgentMemory => Self {
                retry: Retry::Never,
                ..failed("agent_memory_exceeded", message)
            },
            // `Never`: every attempt would end a child.
            TurnError::OutOfMemory => Self {
                retry: Retry::Never,
                ..Self::new(
                    StatusCode::PAYLOAD_TOO_LARGE,
                    "invalid_request_error",
                    "out_of_memory",
                    message,
                )
            },
            TurnError::ProviderFailed
            | TurnError::BudgetExceeded
            | TurnError::TooManyDenials
            | TurnError::SandboxFailed
            | TurnError::ChildExited
            | TurnError::Protocol => failed("codex_failed", message),
            // Codex did not fail: the client is told that it, or a proxy before it, did not read its stream.
            TurnError::SlowReader => Self::new(
                StatusCode::REQUEST_TIMEOUT,
                "invalid_request_error",
                "client_too_slow",
                message,
            ),
            TurnError::Deadline(deadline) => {
                let code = match deadline {
                    Deadline::Request => "request_timeout",
                    Deadline::Idle => "idle_timeout",
                };
                Self::new(StatusCode::GATEWAY_TIMEOUT, "timeout_error", code, message)
            }
        }
    }
}

/// Returns the error of a turn that did not complete.
pub(crate) fn outcome_error(outcome: &Outcome) -> Option<ApiError> {
    match outcome {
        Outcome::Completed { .. } => None,
        Outcome::Interrupted => Some(ApiError::shutting_down()),
        Outcome::Failed(error) => Some(error.clone().into()),
    }
}

/// Makes a sentence of the message of a domain error, which begins in lower case and has no full stop.
fn sentence(fragment: &str) -> String {
    let mut characters = fragment.chars();
    let first = characters
        .next()
        .map(|first| first.to_uppercase().to_string());
    format!(
        "{}{}.",
        first.unwrap_or_default(),
        characters.as_str().trim_end_matches('.')
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_bodies_have_every_field_with_null_where_absent() {
        let body = String::from_utf8(ApiError::bad_request("invalid_json", "No.").body()).unwrap();
        let expected = r#"{"error":{"message":"No.","type":"invalid_request_error","param":null,"code":"invalid_json"}}"#;
        assert_eq!(body, expected);
    }

    #[test]
    fn turn_errors_map_to_their_status_and_code() {
        let quota = TurnError::QuotaExceeded {
            retry_after: Some(Duration::from_secs(90)),
        };
        for (error, status, code) in [
            (TurnError::ContextLength, 400, "context_length_exceeded"),
            (
                TurnError::Rejected("x".into()),
                400,
                "invalid_request_error",
            ),
            (
                TurnError::PolicyViolation {
                    policy: "cyber security",
                    message: "x".into(),
                },
                400,
                "invalid_request_error",
            ),
            (TurnError::PolicyCapacity, 503, "codex_unavailable"),
            (TurnError::FlexUnavailable, 503, "codex_unavailable"),
            (TurnError::BudgetExceeded, 502, "codex_failed"),
            (TurnError::TooManyDenials, 502, "codex_failed"),
            (TurnError::SandboxFailed, 502, "codex_failed"),
            (quota, 429, "insufficient_quota"),
            (TurnError::Busy, 429, "concurrency_exceeded"),
            (
                TurnError::NotAdmitted(NotAdmitted::QueueFull),
                429,
                "concurrency_exceeded",
            ),
            (TurnError::ChildExited, 502, "codex_failed"),
            (TurnError::OutOfMemory, 413, "out_of_memory"),
            (TurnError::WorkspaceFull, 502, "agent_folder_full"),
            (TurnError::TooManyProcesses, 502, "agent_processes_exceeded"),
            (TurnError::AgentMemory, 502, "agent_memory_exceeded"),
            (TurnError::AgentsBusy, 429, "agents_busy"),
            (TurnError::Protocol, 502, "codex_failed"),
            (TurnError::ProviderFailed, 502, "codex_failed"),
            (TurnError::Starting, 503, "codex_starting"),
            (TurnError::Unavailable, 503, "codex_unavailable"),
            (TurnError::LoginRequired, 503, "codex_login_required"),
            (
                TurnError::Deadline(Deadline::Request),
                504,
                "request_timeout",
            ),
            (TurnError::Deadline(Deadline::Idle), 504, "idle_timeout"),
        ] {
            let api = ApiError::from(error.clone());
            assert_eq!(
                (api.status.as_u16(), api.code()),
                (status, code),
                "{error:?}"
            );
            let must_wait = matches!(status, 429 | 503);
            assert_eq!(api.retry_after.is_some(), must_wait, "{error:?}");
        }
    }

    #[test]
    fn messages_have_the_words_and_names_that_clients_search_for() {
        let overflow = || ApiError::from(TurnError::ContextLength);
        let quota = ApiError::from(TurnError::QuotaExceeded { retry_after: None });
        assert_eq!(quota.fields().kind, "insufficient_quota");
        for (error, param, words) in [
            (
                overflow().in_format(&FieldNames::RESPONSE, Some(272_000)),
                Some("input"),
                "maximum context length is 272000 tokens",
            ),
            (
                overflow().in_format(&FieldNames::COMPLETION, None),
                Some("prompt"),
                "maximum context length",
            ),
            (
                ApiError::prompt_too_long(9, 5).at("messages"),
                Some("messages"),
                "maximum context length is 5 tokens",
            ),
            (
                TurnError::from(NotAdmitted::QueueFull).into(),
                None,
                "PROXY_QUEUE_MAX",
            ),
            (
                TurnError::from(NotAdmitted::QueueTimeout).into(),
                None,
                "PROXY_QUEUE_TIMEOUT_MS",
            ),
            (
                TurnError::from(NotAdmitted::ShareTimeout).into(),
                None,
                "PROXY_CLIENT_MAX_CONCURRENCY",
            ),
        ] {
            let fields = error.fields();
            assert_eq!(fields.param, param, "{error:?}");
            assert!(fields.message.contains(words), "{error:?}");
        }
    }
}
