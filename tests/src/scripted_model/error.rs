//! Errors of the model API: an HTTP status and OpenAI's error object.
//! Types, codes and messages are those of the OpenAI API.

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, Method, Response, StatusCode};
use http_body_util::Full;
use serde_json::{Value, json};

use super::script::ErrorStep;

/// An error response of the model API.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    kind: &'static str,
    code: Option<&'static str>,
    param: Option<String>,
    message: String,
}

impl ApiError {
    /// A request that the Responses API rejects.
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self {
            status: StatusCode::BAD_REQUEST,
            kind: "invalid_request_error",
            code: None,
            param: None,
            message: message.into(),
        }
    }

    /// Names the place in the request.
    #[must_use]
    pub(crate) fn at(mut self, param: impl Into<String>) -> Self {
        self.param = Some(param.into());
        self
    }

    /// Sets the code.
    #[must_use]
    pub(crate) fn code(mut self, code: &'static str) -> Self {
        self.code = Some(code);
        self
    }

    /// A route that the API does not have.
    pub(crate) fn unknown_url(method: &Method, path: &str) -> Self {
        Self {
            status: StatusCode::NOT_FOUND,
            kind: "invalid_request_error",
            code: Some("unknown_url"),
            param: None,
            message: format!("Unknown request URL: {method} {path}."),
        }
    }

    /// The error that the OpenAI API sends with `status`.
    fn for_status(status: StatusCode) -> Self {
        let (kind, code, message) = match status.as_u16() {
            401 => (
                "invalid_request_error",
                Some("invalid_api_key"),
                "Incorrect API key provided.",
            ),
            403 => (
                "invalid_request_error",
                Some("unsupported_country_region_territory"),
                "Country, region, or territory not supported.",
            ),
            404 => (
                "invalid_request_error",
                Some("model_not_found"),
                "The requested model does not exist.",
            ),
            429 => (
                "rate_limit_exceeded",
                Some("rate_limit_exceeded"),
                "Rate limit reached. Please try again in 1s.",
            ),
            503 => (
                "service_unavailable_error",
                Some("server_is_overloaded"),
                "Our servers are currently overloaded. Please try again later.",
            ),
            500..=599 => (
                "server_error",
                None,
                "The server had an error while processing your request.",
            ),
            _ => ("invalid_request_error", None, "The request is not valid."),
        };
        Self {
            status,
            kind,
            code,
            param: None,
            message: message.to_owned(),
        }
    }

    fn to_json(&self) -> Value {
        json!({
            "type": self.kind,
            "code": self.code,
            "param": self.param,
            "message": self.message,
        })
    }

    pub(crate) fn response(&self) -> Response<Full<Bytes>> {
        json_response(self.status, &json!({ "error": self.to_json() }))
    }
}

/// The response of a `status` step.
pub(crate) fn scripted(step: ErrorStep) -> Response<Full<Bytes>> {
    let mut error = ApiError::for_status(step.status).to_json();
    for (name, value) in step.error {
        error[name] = value;
    }
    let mut response = match step.body {
        Some(body) => text_response(step.status, body),
        None => json_response(step.status, &json!({ "error": error })),
    };
    step.head.write(response.headers_mut());
    response
}

/// A response with a JSON body.
pub(crate) fn json_response(status: StatusCode, body: &Value) -> Response<Full<Bytes>> {
    let mut response = text_response(status, body.to_string());
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}

fn text_response(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    response
}
