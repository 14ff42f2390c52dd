//! The API of a request, which decides the shapes of its response: OpenAI's, or Anthropic's on the routes of its Messages API.
//! The filter and Envoy's own replies follow the same rule (`filter/src/route.rs`, `envoy/envoy.yaml`).

use http::request::Parts;
use http::{HeaderName, StatusCode};

use crate::anthropic;
use crate::openai::ApiError;

/// The version of Anthropic's API, which each of its clients sends.
const ANTHROPIC_VERSION: HeaderName = HeaderName::from_static("anthropic-version");

/// The id of a request in Anthropic's API, which its SDKs read.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("request-id");

/// An API.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    OpenAi,
    Anthropic,
}

impl Dialect {
    /// Returns the dialect of a request: Anthropic's at and below `/v1/messages`, and for the models where the request
    /// names the version of that API.
    pub(super) fn of(head: &Parts) -> Self {
        let path = head.uri.path();
        let is_at = |route: &str| {
            let rest = path.strip_prefix(route);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        };
        let has_version = head.headers.contains_key(ANTHROPIC_VERSION);
        if is_at("/v1/messages") || (has_version && is_at("/v1/models")) {
            Self::Anthropic
        } else {
            Self::OpenAi
        }
    }

    /// Returns the status of an error.
    pub(super) fn status(self, error: &ApiError) -> StatusCode {
        match self {
            Self::OpenAi => error.status,
            Self::Anthropic => anthropic::status(error),
        }
    }

    /// Returns the body of an error.
    pub(super) fn error_body(self, error: &ApiError, head: &Parts) -> Vec<u8> {
        match self {
            Self::OpenAi => error.body(),
            Self::Anthropic => {
                let id = head.headers.get("x-request-id");
                anthropic::error_body(error, id.and_then(|id| id.to_str().ok()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use http::Request;

    use super::*;

    #[test]
    fn paths_and_version_decide() {
        for (path, has_version, dialect) in [
            ("/v1/messages", false, Dialect::Anthropic),
            (
                "/v1/messages/count_tokens?beta=true",
                false,
                Dialect::Anthropic,
            ),
            ("/v1/messages/", false, Dialect::Anthropic),
            ("/v1/messagesx", true, Dialect::OpenAi),
            ("/v1/models", false, Dialect::OpenAi),
            ("/v1/models", true, Dialect::Anthropic),
            ("/v1/models/codex-5", true, Dialect::Anthropic),
            ("/v1/chat/completions", true, Dialect::OpenAi),
        ] {
            let mut request = Request::builder().uri(path);
            if has_version {
                request = request.header(ANTHROPIC_VERSION, "2023-06-01");
            }
            let (head, ()) = request.body(()).unwrap().into_parts();
            assert_eq!(Dialect::of(&head), dialect, "{path}");
        }
    }
}
