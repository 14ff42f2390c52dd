//! Method and path -> route, and what a route is called where its ids do not matter.
//! The table is the contract's section 2; `docs/openapi.json` describes it.

use http::Method;

/// Where a request goes.
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
    Response(&'a str),
    InputItems(&'a str),
    Cancel(&'a str),
    Usage,
    UsageRecords,
    /// For tests of a deployment, and only where the operator wants it.
    Concurrency,
    /// Another verb of a path that exists, with those that it knows.
    OtherVerb(&'static str),
    Options,
    Unknown,
}

impl<'a> Route<'a> {
    pub(super) fn of(method: &Method, path: &'a str) -> Self {
        if *method == Method::OPTIONS {
            return Self::Options;
        }
        let path = path.strip_suffix('/').unwrap_or(path);
        let route = match path {
            "/healthz" => Self::Health,
            "/livez" => Self::Live,
            "/readyz" => Self::Ready,
            "/v1/models" => Self::Models,
            "/v1/chat/completions" => Self::Chat,
            "/v1/completions" => Self::Completions,
            "/v1/responses" => Self::Responses,
            "/v1/usage" => Self::Usage,
            "/v1/usage/raw" => Self::UsageRecords,
            "/__test/conc" => Self::Concurrency,
            _ => match (
                path.strip_prefix("/v1/models/"),
                path.strip_prefix("/v1/responses/"),
            ) {
                (Some(id), _) => Self::Model(id),
                (None, Some(rest)) => Self::of_response(rest),
                (None, None) => Self::Unknown,
            },
        };
        match route.allow() {
            Some(allow) if allow.split(", ").any(|verb| verb == method.as_str()) => route,
            Some(allow) => Self::OtherVerb(allow),
            None => Self::Unknown,
        }
    }

    /// What lies below `/v1/responses/`. OpenAI has verbs of its own there (`compact`) that are none of our ids.
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

    /// The verbs that it knows, as `Allow` lists them; `None` when it has no path.
    fn allow(self) -> Option<&'static str> {
        match self {
            Self::Health | Self::Live | Self::Ready => Some("GET, HEAD, OPTIONS"),
            Self::Models | Self::Model(_) | Self::InputItems(_) => Some("GET, HEAD, OPTIONS"),
            Self::Chat | Self::Completions | Self::Responses => Some("POST, HEAD, OPTIONS"),
            Self::Response(_) => Some("GET, DELETE, HEAD, OPTIONS"),
            Self::Cancel(_) => Some("POST, OPTIONS"),
            Self::Usage | Self::UsageRecords | Self::Concurrency => Some("GET, OPTIONS"),
            Self::OtherVerb(_) | Self::Options | Self::Unknown => None,
        }
    }

    /// Its path with names for what varies, as the description of the API writes it; `other` when it has none.
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
            Self::Response(_) => "/v1/responses/{response}",
            Self::InputItems(_) => "/v1/responses/{response}/input_items",
            Self::Cancel(_) => "/v1/responses/{response}/cancel",
            Self::Usage => "/v1/usage",
            Self::UsageRecords => "/v1/usage/raw",
            Self::Concurrency => "/__test/conc",
            Self::OtherVerb(_) | Self::Options | Self::Unknown => "other",
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;

    /// One of each route that is described; the one for tests is not.
    const ROUTES: [Route<'_>; 13] = [
        Route::Health,
        Route::Live,
        Route::Ready,
        Route::Models,
        Route::Model("codex-5"),
        Route::Chat,
        Route::Completions,
        Route::Responses,
        Route::Response("resp_1"),
        Route::InputItems("resp_1"),
        Route::Cancel("resp_1"),
        Route::Usage,
        Route::UsageRecords,
    ];

    /// The description of the API, `docs/openapi.json`.
    fn described() -> Value {
        let description = include_str!("../../../docs/openapi.json");
        serde_json::from_str(description).expect("the description is JSON")
    }

    #[test]
    fn what_is_described_is_what_is_routed() {
        let description = described();
        let described = description["paths"].as_object().expect("it has paths");
        let routed: BTreeSet<_> = ROUTES.into_iter().map(Route::pattern).collect();
        assert_eq!(
            described
                .keys()
                .map(String::as_str)
                .collect::<BTreeSet<_>>(),
            routed
        );
        for (path, item) in described {
            let real = path.replace("{model}", "codex-5");
            let real = real.replace("{response}", "resp_1");
            for verb in [
                Method::GET,
                Method::HEAD,
                Method::POST,
                Method::PUT,
                Method::PATCH,
                Method::DELETE,
            ] {
                let route = Route::of(&verb, &real);
                let is_described = item.get(verb.as_str().to_lowercase()).is_some();
                let is_routed = route.pattern() == path;
                assert_eq!(is_routed, is_described, "{verb} {path} is {route:?}");
            }
        }
    }
}
