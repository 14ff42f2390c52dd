//! Method and path -> route, the pattern of a route for metrics, and the API that decides the shapes of a response: OpenAI's,
//! or Anthropic's on the routes of its Messages API, as in `filter/src/route.rs` and in `envoy/envoy.yaml`.
//! `docs/openapi.json` describes the routes.

use http::request::Parts;
use http::{HeaderName, Method, StatusCode};

use crate::anthropic;
use crate::openai::ApiError;

/// The route of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Route<'a> {
    Health,
    Live,
    Ready,
    Models,
    Model(&'a str),
    Chat,
    Completions,
    Responses,
    Messages,
    CountTokens,
    Response(&'a str),
    InputItems(&'a str),
    Cancel(&'a str),
    Usage,
    UsageRecords,
    /// The number of running turns, for tests of a deployment; served only if the operator enables it.
    Concurrency,
    /// A known path with another method; carries the allowed methods.
    MethodNotAllowed(&'static str),
    Options,
    Unknown,
}

impl<'a> Route<'a> {
    /// Returns the route of a method and a path. One trailing slash is ignored.
    pub(super) fn of(method: &Method, path: &'a str) -> Self {
        if *method == Method::OPTIONS {
            return Self::Options;
        }
        let route = match path.strip_suffix('/').unwrap_or(path) {
            "/healthz" => Self::Health,
            "/livez" => Self::Live,
            "/readyz" => Self::Ready,
            "/v1/models" => Self::Models,
            "/v1/chat/completions" => Self::Chat,
            "/v1/completions" => Self::Completions,
            "/v1/responses" => Self::Responses,
            "/v1/messages" => Self::Messages,
            "/v1/messages/count_tokens" => Self::CountTokens,
            "/v1/usage" => Self::Usage,
            "/v1/usage/raw" => Self::UsageRecords,
            "/__test/conc" => Self::Concurrency,
            path => match (
                path.strip_prefix("/v1/models/"),
                path.strip_prefix("/v1/responses/"),
            ) {
                (Some(id), _) => Self::Model(id),
                (None, Some(rest)) => Self::of_response(rest),
                (None, None) => Self::Unknown,
            },
        };
        match route.allow() {
            Some(allow) if allow.split(", ").any(|name| name == method.as_str()) => route,
            Some(allow) => Self::MethodNotAllowed(allow),
            None => Self::Unknown,
        }
    }

    /// Returns the route below `/v1/responses/`. OpenAI has actions there, such as `compact`, that are not response ids.
    fn of_response(rest: &'a str) -> Self {
        let (id, below) = rest.split_once('/').unwrap_or((rest, ""));
        match below {
            _ if !id.starts_with("resp_") => Self::Unknown,
            "" => Self::Response(id),
            "input_items" => Self::InputItems(id),
            "cancel" => Self::Cancel(id),
            _ => Self::Unknown,
        }
    }

    /// Returns the methods of the route as the value of `Allow`; `None` for a route without a path.
    fn allow(self) -> Option<&'static str> {
        match self {
            Self::Health | Self::Live | Self::Ready => Some("GET, HEAD, OPTIONS"),
            Self::Models | Self::Model(_) | Self::InputItems(_) => Some("GET, HEAD, OPTIONS"),
            Self::Chat
            | Self::Completions
            | Self::Responses
            | Self::Messages
            | Self::CountTokens => Some("POST, HEAD, OPTIONS"),
            Self::Response(_) => Some("GET, DELETE, HEAD, OPTIONS"),
            Self::Cancel(_) => Some("POST, OPTIONS"),
            Self::Usage | Self::UsageRecords | Self::Concurrency => Some("GET, OPTIONS"),
            Self::MethodNotAllowed(_) | Self::Options | Self::Unknown => None,
        }
    }

    /// Returns the path with placeholders for ids, as in `docs/openapi.json`; `other` for a route without a path.
    pub(super) fn pattern(self) -> &'static str {
        match self {
            Self::Health => "/healthz",
            Self::Live => "/livez",
            Self::Ready => "/readyz",
            Self::Models => "/v1/models",
            Self::Model(_) => "/v1/models/{model}",
            Self::Chat => "/v1/chat/completions",
            Self::Completions => "/v1/completions",
            Self::Responses => "/v1/responses",
            Self::Messages => "/v1/messages",
            Self::CountTokens => "/v1/messages/count_tokens",
            Self::Response(_) => "/v1/responses/{response}",
            Self::InputItems(_) => "/v1/responses/{response}/input_items",
            Self::Cancel(_) => "/v1/responses/{response}/cancel",
            Self::Usage => "/v1/usage",
            Self::UsageRecords => "/v1/usage/raw",
            Self::Concurrency => "/__test/conc",
            Self::MethodNotAllowed(_) | Self::Options | Self::Unknown => "other",
        }
    }
}

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
    use std::collections::BTreeSet;

    use http::Request;
    use serde_json::Value;

    use super::*;

    /// An example of each documented route. The route for tests is not documented.
    const ROUTES: [Route<'_>; 15] = [
        Route::Health,
        Route::Live,
        Route::Ready,
        Route::Models,
        Route::Model("codex-5"),
        Route::Chat,
        Route::Completions,
        Route::Responses,
        Route::Messages,
        Route::CountTokens,
        Route::Response("resp_1"),
        Route::InputItems("resp_1"),
        Route::Cancel("resp_1"),
        Route::Usage,
        Route::UsageRecords,
    ];

    /// Returns `docs/openapi.json`.
    fn openapi() -> Value {
        let openapi = include_str!("../../../docs/openapi.json");
        serde_json::from_str(openapi).expect("openapi.json is JSON")
    }

    #[test]
    fn documented_paths_and_methods_match_the_routes() {
        let openapi = openapi();
        let documented = openapi["paths"]
            .as_object()
            .expect("openapi.json has paths");
        let routed: BTreeSet<_> = ROUTES.into_iter().map(Route::pattern).collect();
        assert_eq!(
            documented
                .keys()
                .map(String::as_str)
                .collect::<BTreeSet<_>>(),
            routed
        );
        for (path, item) in documented {
            let concrete = path
                .replace("{model}", "codex-5")
                .replace("{response}", "resp_1");
            for method in [
                Method::GET,
                Method::HEAD,
                Method::POST,
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
            ] {
                let route = Route::of(&method, &concrete);
                let is_documented = item.get(method.as_str().to_lowercase()).is_some();
                let is_routed = route.pattern() == path;
                assert_eq!(is_routed, is_documented, "{method} {path} is {route:?}");
            }
        }
    }

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
