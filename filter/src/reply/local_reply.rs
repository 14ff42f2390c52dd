//! Responses of the filter itself (Envoy's local replies); errors have OpenAI's shape.
//! Follows OpenAI's API reference (error codes) and HTTP semantics (RFC 9110, section 15; RFC 6750, section 3).

use std::time::Duration;

use serde::Serialize;

use super::rejection::RejectReason;
use crate::metrics::RequestOutcome;
use crate::route::Dialect;

/// A response that Envoy sends without asking the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    /// The status code.
    pub status: u16,
    /// Header names and values; the values are visible ASCII.
    pub headers: Vec<(&'static str, String)>,
    /// JSON, in OpenAI's shape.
    pub body: Option<String>,
    /// The message of an error.
    pub message: Option<String>,
    /// The outcome for the metrics and the access log.
    pub outcome: RequestOutcome,
}

const JSON: &str = "application/json; charset=utf-8";

impl LocalReply {
    /// 200 with a JSON body.
    pub fn ok(outcome: RequestOutcome, body: &str) -> Self {
        Self {
            status: 200,
            headers: vec![("content-type", JSON.to_owned())],
            body: Some(body.to_owned()),
            message: None,
            outcome,
        }
    }

    /// 204 without body and content type; Envoy would send a wrong `content-length` with either.
    pub fn no_content(outcome: RequestOutcome) -> Self {
        Self {
            status: 204,
            headers: Vec::new(),
            body: None,
            message: None,
            outcome,
        }
    }

    /// 401. The message does not reveal which part of the credentials is wrong.
    pub fn invalid_api_key() -> Self {
        let message =
            "Invalid or missing API key. Send a valid key as `Authorization: Bearer <key>`.";
        Self::reject(RejectReason::InvalidApiKey, message)
            .with("www-authenticate", "Bearer realm=\"api\"".to_owned())
    }

    /// 401: `authorization` and `x-api-key` have different keys.
    pub fn conflicting_credentials() -> Self {
        let message = "Invalid API key: `authorization` and `x-api-key` differ. Send one of them, or the same key in both.";
        Self::reject(RejectReason::InvalidApiKey, message)
            .with("www-authenticate", "Bearer realm=\"api\"".to_owned())
    }

    /// 429 with the time until the next request is accepted, in whole seconds (at least one) and in milliseconds.
    pub fn rate_limited(reason: RejectReason, retry_after: Duration) -> Self {
        let millis = retry_after.as_nanos().div_ceil(1_000_000).max(1);
        let seconds = millis.div_ceil(1000);
        let message = format!("Rate limit reached. Try again in {seconds} s.");
        Self::reject(reason, &message)
            .with("retry-after", seconds.to_string())
            .with("retry-after-ms", millis.to_string())
    }

    /// 429 for a client with a spent token budget, with the time until it is open again.
    pub fn budget_spent(retry_after: Duration) -> Self {
        let millis = retry_after.as_nanos().div_ceil(1_000_000).max(1);
        let seconds = millis.div_ceil(1000);
        let message = format!(
            "The token budget of this API key is used up. It resets in {seconds} s; `GET /v1/usage` shows it."
        );
        Self::reject(RejectReason::BudgetSpent, &message)
            .with("retry-after", seconds.to_string())
            .with("retry-after-ms", millis.to_string())
            .with("x-should-retry", "false".to_owned())
    }

    /// 429 or 503 for a request beyond a limit of [`crate::in_flight`], with the wait of a second that the sidecar
    /// advises too.
    pub fn in_flight_exceeded(reason: RejectReason) -> Self {
        let message = match reason {
            RejectReason::ClientRequestsExceeded => {
                "This API key has as many requests in progress as the gateway allows. Wait until one of them has ended."
            }
            RejectReason::ClientMemoryExceeded => {
                "The request bodies of this API key that the gateway holds use up its share. Send fewer at a time."
            }
            _ => "The gateway holds as many request bodies as it may. Try again shortly.",
        };
        let reply = Self::reject(reason, message).with("retry-after", "1".to_owned());
        match reason {
            // The request was not forwarded, so that a retry cannot run a turn twice.
            RejectReason::MemoryExceeded => reply.with("x-should-retry", "true".to_owned()),
            _ => reply,
        }
    }

    /// 413.
    pub fn body_too_large(max_body_bytes: u64) -> Self {
        let message =
            format!("The request body is larger than {max_body_bytes} bytes. Send a smaller one.");
        Self::reject(RejectReason::BodyTooLarge, &message)
    }

    /// 400: the body is not a JSON object.
    pub fn invalid_json() -> Self {
        let message = "The request body is not a valid JSON object. Send UTF-8 JSON, uncompressed.";
        Self::reject(RejectReason::InvalidJson, message)
    }

    /// 415: the body is compressed, so that its model cannot be checked.
    pub fn encoded_body() -> Self {
        let message = "Unsupported `content-encoding`: this API key or deployment restricts the models, so send the body \
            uncompressed.";
        Self::reject(RejectReason::EncodedBody, message)
    }

    /// 400: `model` is not a string, or is missing without a default.
    pub fn invalid_model(message: &str) -> Self {
        Self::reject(RejectReason::InvalidModel, message)
    }

    /// 404: the model is not in the catalogue.
    pub fn model_not_found(model: &str) -> Self {
        let message = format!("The model {model} does not exist or you do not have access to it.");
        Self::reject(RejectReason::ModelNotFound, &message)
    }

    /// 403: the model is in the catalogue, and the API key does not allow it.
    pub fn model_not_allowed(model: &str) -> Self {
        let message = format!(
            "This API key may not use the model {model}. `GET /v1/models` lists those that it may use."
        );
        Self::reject(RejectReason::ModelNotAllowed, &message)
    }

    /// 403: the API key allows the model, but not with this reasoning effort.
    pub fn effort_not_allowed(model: &str, effort: &str) -> Self {
        let message = format!(
            "This API key may not use the model {model} with the reasoning effort {effort}. `GET /v1/models` lists the \
             models that it may use."
        );
        Self::reject(RejectReason::ModelNotAllowed, &message)
    }

    /// 403: a page that the operator has not listed, at a deployment without keys.
    pub fn origin_not_allowed() -> Self {
        let message = "Pages of this origin may not use this deployment, which has no API keys. The operator can add the \
            origin to `cors.allowed_origins` or `PROXY_CORS_ALLOWED_ORIGINS`.";
        Self::reject(RejectReason::OriginNotAllowed, message)
    }

    /// 400: several `host` headers, which servers read differently (RFC 9112, section 3.2).
    pub fn repeated_host() -> Self {
        let message = "Invalid `host` header: the request has several. Send one.";
        Self::reject(RejectReason::RepeatedHost, message)
    }

    /// 405 with the supported methods.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let message = format!("This method is not allowed here. Use one of {allow}.");
        Self::reject(RejectReason::MethodNotAllowed, &message).with("allow", allow.to_owned())
    }

    /// 500: a host call failed; fail closed.
    pub fn host_failure() -> Self {
        Self::reject(
            RejectReason::HostFailure,
            "The gateway could not read the request. Try again.",
        )
    }

    /// The response in the shape of a dialect, for the request with this id.
    #[must_use]
    pub fn in_dialect(&self, dialect: Dialect, request_id: &str) -> Self {
        let reply = self.clone();
        let (Dialect::Anthropic, RequestOutcome::Rejected(reason)) = (dialect, self.outcome) else {
            return reply;
        };
        let spec = reason.error_spec();
        let (status, kind) = anthropic_error(spec.status, reason);
        let error = AnthropicError {
            r#type: kind,
            message: self.message.as_deref().unwrap_or_default(),
            details: ErrorDetails {
                error_code: spec.code,
            },
        };
        let body = AnthropicBody {
            r#type: "error",
            error,
            request_id,
        };
        Self {
            status,
            body: serde_json::to_string(&body).ok(),
            ..reply
        }
        .with("request-id", request_id.to_owned())
    }

    /// The same response with one more header.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: String) -> Self {
        self.headers.push((name, value));
        self
    }

    fn reject(reason: RejectReason, message: &str) -> Self {
        let spec = reason.error_spec();
        let error = ErrorObject {
            message,
            r#type: spec.kind,
            param: spec.param,
            code: spec.code,
        };
        Self {
            status: spec.status,
            headers: vec![("content-type", JSON.to_owned())],
            // Strings always serialize; if that ever failed, the status alone would still reject.
            body: serde_json::to_string(&ErrorBody { error }).ok(),
            message: Some(message.to_owned()),
            outcome: RequestOutcome::Rejected(reason),
        }
    }
}

#[derive(Serialize)]
struct ErrorBody<'a> {
    error: ErrorObject<'a>,
}

#[derive(Serialize)]
struct ErrorObject<'a> {
    message: &'a str,
    r#type: &'a str,
    param: Option<&'a str>,
    code: &'a str,
}

#[derive(Serialize)]
struct AnthropicBody<'a> {
    r#type: &'a str,
    error: AnthropicError<'a>,
    request_id: &'a str,
}

#[derive(Serialize)]
struct AnthropicError<'a> {
    r#type: &'a str,
    message: &'a str,
    details: ErrorDetails<'a>,
}

#[derive(Serialize)]
struct ErrorDetails<'a> {
    error_code: &'a str,
}

/// Returns status and type of an error in Anthropic's API (API reference, "Errors"), as the sidecar does.
fn anthropic_error(status: u16, reason: RejectReason) -> (u16, &'static str) {
    const OVERLOADED: u16 = 529;
    match (status, reason) {
        (_, RejectReason::MemoryExceeded) => (OVERLOADED, "overloaded_error"),
        (401, _) => (status, "authentication_error"),
        (403, _) => (status, "permission_error"),
        (404, _) => (status, "not_found_error"),
        (429, _) => (status, "rate_limit_error"),
        (400..=499, _) => (status, "invalid_request_error"),
        _ => (status, "api_error"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn error_has_anthropics_shape_on_its_routes() {
        for (reply, status, kind, code) in [
            (
                LocalReply::invalid_api_key(),
                401,
                "authentication_error",
                "invalid_api_key",
            ),
            (
                LocalReply::model_not_found("x"),
                404,
                "not_found_error",
                "model_not_found",
            ),
            (
                LocalReply::in_flight_exceeded(RejectReason::MemoryExceeded),
                529,
                "overloaded_error",
                "memory_exceeded",
            ),
            (
                LocalReply::host_failure(),
                500,
                "api_error",
                "internal_error",
            ),
        ] {
            let message = reply.message.clone().unwrap();
            assert_eq!(reply.in_dialect(Dialect::OpenAi, "r"), reply);
            let reply = reply.in_dialect(Dialect::Anthropic, "r");
            let body: serde_json::Value =
                serde_json::from_str(reply.body.as_deref().unwrap()).unwrap();
            let expected = serde_json::json!({
                "type": "error",
                "error": {"type": kind, "message": message, "details": {"error_code": code}},
                "request_id": "r",
            });
            assert_eq!((reply.status, body), (status, expected));
            assert!(reply.headers.contains(&("request-id", "r".to_owned())));
        }
    }

    #[test]
    fn error_body_has_openais_shape() {
        let reply = LocalReply::model_not_found("a\"b\u{1}");
        let body: serde_json::Value = serde_json::from_str(reply.body.as_deref().unwrap()).unwrap();
        let expected = serde_json::json!({"error": {
            "message": "The model a\"b\u{1} does not exist or you do not have access to it.",
            "type": "invalid_request_error", "param": "model", "code": "model_not_found",
        }});
        assert_eq!(body, expected);
        assert_eq!(reply.status, 404);
    }

    #[test]
    fn retry_after_rounds_up() {
        let cases = [
            (0, "1", "1"),
            (1, "1", "1"),
            (999_999, "1", "1"),
            (1_000_000_001, "2", "1001"),
            (60_000_000_000, "60", "60000"),
        ];
        for (nanos, seconds, millis) in cases {
            let wait = Duration::from_nanos(nanos);
            let reply = LocalReply::rate_limited(RejectReason::RateLimited, wait);
            for header in [("retry-after", seconds), ("retry-after-ms", millis)] {
                let header = (header.0, header.1.to_owned());
                assert!(reply.headers.contains(&header), "{nanos}: {header:?}");
            }
        }
    }
}
