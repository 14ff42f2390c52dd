//! `/verify`, for proxies that front something else with our keys.
//! Traefik's `ForwardAuth` and Envoy's `ext_authz` over HTTP; nginx has a file of its own, `forward_auth.rs`.

use http::{Method, Request};
use serde_json::json;
use tests::http::{Body, bearer, empty, get, with};
use tests::upstream::Script;

use crate::stack::{Edges, KEY, MakeRequest, assert_error};

/// A question about a request: its method and target as a proxy forwards them, empty for none.
fn asks(method: &str, uri: &str) -> Request<Body> {
    let fields = [("x-forwarded-method", method), ("x-forwarded-uri", uri)];
    let sent = fields.into_iter().filter(|(_, value)| !value.is_empty());
    sent.fold(get("/verify"), |request, (name, value)| {
        with(request, name, value)
    })
}

#[tokio::test]
async fn verify_accepts_valid_keys_and_rejects_unauthenticated_requests() {
    const STRANGER: &str = "401 invalid_api_key";
    const NO_VERB: &str = "405 method_not_allowed";
    // A question, and what is said to a stranger and to a client.
    let cases: [(MakeRequest, &str, &str); 17] = [
        (&|| get("/verify"), STRANGER, "200"),
        (&|| get("/verify/?x=1"), STRANGER, "200"),
        (&|| empty(Method::HEAD, "/verify"), "401", "200"),
        (&|| empty(Method::OPTIONS, "/verify"), "204", "204"),
        (&|| empty(Method::POST, "/verify"), NO_VERB, NO_VERB),
        (&|| asks("GET", "/theirs"), STRANGER, "200"),
        (&|| asks("POST", "/v1/chat/completions"), STRANGER, "200"),
        (&|| asks("GET", "/healthz"), "200", "200"),
        (&|| asks("HEAD", "/v1/responses"), "200", "200"),
        (&|| asks("OPTIONS", "/theirs"), "204", "204"),
        (&|| asks("", "/healthz"), STRANGER, "200"),
        (&|| asks("GET", ""), STRANGER, "200"),
        (
            &|| with(asks("GET", "/healthz"), "x-forwarded-uri", "/theirs"),
            STRANGER,
            "200",
        ),
        (
            &|| with(asks("OPTIONS", "/theirs"), "x-forwarded-method", "GET"),
            STRANGER,
            "200",
        ),
        (
            &|| empty(Method::POST, "/verify/v1/chat/completions"),
            STRANGER,
            "200",
        ),
        (
            &|| empty(Method::DELETE, "/verify/theirs/1"),
            STRANGER,
            "200",
        ),
        (&|| get("/verify/healthz"), "200", "200"),
    ];
    let edges = Edges::start(Script::Echo, |options| options.env("PROXY_API_KEY", KEY)).await;
    for (request, strangers, clients) in cases {
        for answer in edges.check(request, strangers).await {
            assert_eq!(answer.header("x-codex-edge-client"), "");
            assert_eq!(
                answer.header("www-authenticate").is_empty(),
                answer.status != 401
            );
        }
        for answer in edges.check(|| bearer(request(), KEY), clients).await {
            let client = if clients == "200" { "default" } else { "" };
            assert_eq!(answer.header("x-codex-edge-client"), client);
            if clients == "200" && !answer.body.is_empty() {
                assert_eq!(answer.json(), json!({"ok": true}));
            }
        }
    }
    assert!(edges.seen().is_empty(), "the filter answers by itself");
}

#[tokio::test]
async fn verify_rate_limits_invalid_keys_but_not_valid_ones() {
    let limit = json!({"requests": 2, "window_ms": 86_400_000});
    let edges = Edges::start(Script::Echo, |options| {
        let options = options.env("PROXY_API_KEY", KEY);
        options.filter("unauthenticated_rate_limit", limit.clone())
    })
    .await;
    edges
        .check(
            || bearer(asks("GET", "/theirs"), "a guess"),
            "401 invalid_api_key",
        )
        .await;
    let again = edges.check(
        || bearer(asks("GET", "/theirs"), "another"),
        "429 rate_limited",
    );
    for answer in again.await {
        assert_error(&answer, 429, "rate_limit_error", "rate_limited");
        let wait: u64 = answer.header("retry-after").parse().unwrap();
        assert!((43_100..=43_200).contains(&wait), "{wait}");
    }
    edges
        .check(|| bearer(asks("GET", "/theirs"), KEY), "200")
        .await;
}
