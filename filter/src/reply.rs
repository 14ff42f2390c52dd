//! Answers that the filter gives itself, refusals in OpenAI's error shape.
//! Follows OpenAI's API reference (error codes) and HTTP semantics (RFC 9110, section 15; RFC 6750, section 3).

use std::time::Duration;

use serde::Serialize;

use crate::rejection::{Outcome, Refusal};

/// An answer that Envoy sends without asking the upstream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalReply {
    /// The status code.
    pub status: u16,
    /// Field names and values; the values are visible ASCII.
    pub fields: Vec<(&'static str, String)>,
    /// JSON, or nothing.
    pub body: Option<String>,
    /// What the metrics and the access log call this answer.
    pub outcome: Outcome,
}

const JSON: &str = "application/json; charset=utf-8";

impl LocalReply {
    /// 200 with a JSON body.
    pub fn ok(outcome: Outcome, body: &str) -> Self {
        let fields = vec![("content-type", JSON.to_owned())];
        Self {
            status: 200,
            fields,
            body: Some(body.to_owned()),
            outcome,
        }
    }

    /// 204: neither a body nor a content type, or Envoy would send a false length.
    pub fn no_content(outcome: Outcome) -> Self {
        Self {
            status: 204,
            fields: Vec::new(),
            body: None,
            outcome,
        }
    }

    /// 401: says nothing about which part of the credential was wrong.
    pub fn invalid_api_key() -> Self {
        let message =
            "Invalid or missing API key. Send a valid key as `Authorization: Bearer <key>`.";
        Self::refuse(Refusal::InvalidApiKey, message)
            .with("www-authenticate", "Bearer realm=\"api\"".to_owned())
    }

    /// 429 with the time until the next request would be accepted, in whole seconds (at least one) and milliseconds.
    pub fn rate_limited(refusal: Refusal, retry_after: Duration) -> Self {
        let millis = retry_after.as_nanos().div_ceil(1_000_000).max(1);
        let seconds = millis.div_ceil(1000);
        Self::refuse(
            refusal,
            &format!("Rate limit reached. Try again in {seconds} s."),
        )
        .with("retry-after", seconds.to_string())
        .with("retry-after-ms", millis.to_string())
    }

    /// 413: longer than the filter was told to accept.
    pub fn body_too_large(max_body_bytes: u64) -> Self {
        let message =
            format!("The request body is larger than {max_body_bytes} bytes. Send a smaller one.");
        Self::refuse(Refusal::BodyTooLarge, &message)
    }

    /// 400: the body is not a JSON object.
    pub fn invalid_json() -> Self {
        let message = "The request body is not a valid JSON object. Send UTF-8 JSON, uncompressed.";
        Self::refuse(Refusal::InvalidJson, message)
    }

    /// 400: `model` is no name, or is missing where it has to be there.
    pub fn invalid_model(message: &str) -> Self {
        Self::refuse(Refusal::InvalidModel, message)
    }

    /// 404: the model is not in the catalogue.
    pub fn model_not_found(model: &str) -> Self {
        let message = format!("The model {model} does not exist or you do not have access to it.");
        Self::refuse(Refusal::ModelNotFound, &message)
    }

    /// 403: the model exists, and this key may not use it.
    pub fn model_not_allowed(model: &str) -> Self {
        let message = format!(
            "This API key may not use the model {model}. `GET /v1/models` lists those that it may use."
        );
        Self::refuse(Refusal::ModelNotAllowed, &message)
    }

    /// 405 with the verbs that would do.
    pub fn method_not_allowed(allow: &'static str) -> Self {
        let message = format!("This method is not allowed here. Use one of {allow}.");
        Self::refuse(Refusal::MethodNotAllowed, &message).with("allow", allow.to_owned())
    }

    /// 500: the host broke its word, so nothing can be decided and nothing passes.
    pub fn host_failure() -> Self {
        Self::refuse(
            Refusal::HostFailure,
            "The gateway could not read the request. Try again.",
        )
    }

    /// The same answer with one more field.
    #[must_use]
    pub fn with(mut self, name: &'static str, value: String) -> Self {
        self.fields.push((name, value));
        self
    }

    fn refuse(refusal: Refusal, message: &str) -> Self {
        let shape = refusal.shape();
        let error = ErrorObject {
            message,
            r#type: shape.kind,
            param: shape.param,
            code: shape.code,
        };
        // Strings always serialize; were that ever to fail, the status alone still refuses.
        let body = serde_json::to_string(&ErrorBody { error }).ok();
        let fields = vec![("content-type", JSON.to_owned())];
        Self {
            status: shape.status,
            fields,
            body,
            outcome: Outcome::Refused(refusal),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_has_openais_shape() {
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
    fn retry_after_is_rounded_up() {
        let cases = [
            (0, "1", "1"),
            (1, "1", "1"),
            (999_999, "1", "1"),
            (1_000_000_001, "2", "1001"),
            (60_000_000_000, "60", "60000"),
        ];
        for (nanos, seconds, millis) in cases {
            let reply = LocalReply::rate_limited(Refusal::RateLimited, Duration::from_nanos(nanos));
            assert!(
                reply.fields.contains(&("retry-after", seconds.to_owned())),
                "{nanos}"
            );
            assert!(
                reply
                    .fields
                    .contains(&("retry-after-ms", millis.to_owned())),
                "{nanos}"
            );
        }
    }
}
