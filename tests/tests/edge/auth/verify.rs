//! `/verify`, with which other proxies protect other services by the edge's API keys.
//! Follows Traefik's `ForwardAuth` and Envoy's `ext_authz` over HTTP; `forward_auth.rs` tests nginx.

use http::{Method, Request};
use serde_json::json;
use tests::http::{Body, bearer, empty, get, with};
use tests::upstream::Behavior;

use crate::stack::{Edges, KEY, MakeRequest, assert_error};

/// Returns a subrequest to `/verify` with the original method and target as a proxy forwards them; an empty one is
/// left out.
fn verify(method: &str, uri: &str) -> Request<Body> {
    [("x-forwarded-method", method), ("x-forwarded-uri", uri)]
        .into_iter()
        .filter(|(_, value)| !value.is_empty())
        .fold(get("/verify"), |request, (name, value)| {
            with(request, name, value)
        })
}

#[tokio::test]
async fn verify_accepts_valid_keys_and_rejects_unauthenticated_requests() {
    const INVALID_KEY: &str = "401 invalid_api_key";
    const BAD_METHOD: &str = "405 method_not_allowed";
    // A subrequest, the response without a key, and the response with a valid key.
    let cases: [(MakeRequest, &str, &str); 17] = [
        (&|| get("/verify"), INVALID_KEY, "200"),
        (&|| get("/verify/?x=1"), INVALID_KEY, "200"),
        (&|| empty(Method::HEAD, "/verify"), "401", "200"),
        (&|| empty(Method::OPTIONS, "/verify"), "204", "204"),
        (&|| empty(Method::POST, "/verify"), BAD_METHOD, BAD_METHOD),
        (&|| verify("GET", "/service"), INVALID_KEY, "200"),
        (
            &|| verify("POST", "/v1/chat/completions"),
            INVALID_KEY,
            "200",
        ),
        (&|| verify("GET", "/healthz"), "200", "200"),
        (&|| verify("HEAD", "/v1/responses"), "200", "200"),
        (&|| verify("OPTIONS", "/service"), "204", "204"),
        (&|| verify("", "/healthz"), INVALID_KEY, "200"),
        (&|| verify("GET", ""), INVALID_KEY, "200"),
        (
            &|| with(verify("GET", "/healthz"), "x-forwarded-uri", "/service"),
            INVALID_KEY,
            "200",
        ),
        (
            &|| with(verify("OPTIONS", "/service"), "x-forwarded-method", "GET"),
            INVALID_KEY,
            "200",
        ),
        (
            &|| empty(Method::POST, "/verify/v1/chat/completions"),
            INVALID_KEY,
            "200",
        ),
        (
            &|| empty(Method::DELETE, "/verify/service/1"),
            INVALID_KEY,
            "200",
        ),
        (&|| get("/verify/healthz"), "200", "200"),
    ];
    let edges = Edges::start(Behavior::Echo, |options| options.env("PROXY_API_KEY", KEY)).await;
    for (request, without_key, with_key) in cases {
        for response in edges.check(request, without_key).await {
            assert_eq!(response.header("x-codex-edge-client"), "");
            assert_eq!(
                response.header("www-authenticate").is_empty(),
                response.status != 401
            );
        }
        for response in edges.check(|| bearer(request(), KEY), with_key).await {
            let client = if with_key == "200" { "default" } else { "" };
            assert_eq!(response.header("x-codex-edge-client"), client);
            if with_key == "200" && !response.body.is_empty() {
                assert_eq!(response.json(), json!({"ok": true}));
            }
        }
    }
    assert!(
        edges.requests().is_empty(),
        "the filter sends a local reply"
    );
}

#[tokio::test]
async fn verify_rate_limits_invalid_keys_but_not_valid_ones() {
    let limit = json!({"requests": 2, "window_ms": 86_400_000});
    let edges = Edges::start(Behavior::Echo, |options| {
        options
            .env("PROXY_API_KEY", KEY)
            .filter("unauthenticated_rate_limit", limit.clone())
    })
    .await;
    edges
        .check(
            || bearer(verify("GET", "/service"), "a guess"),
            "401 invalid_api_key",
        )
        .await;
    let second = edges.check(
        || bearer(verify("GET", "/service"), "another"),
        "429 rate_limited",
    );
    for response in second.await {
        assert_error(&response, 429, "rate_limit_error", "rate_limited");
        let wait: u64 = response.header("retry-after").parse().unwrap();
        assert!((43_100..=43_200).contains(&wait), "{wait}");
    }
    edges
        .check(|| bearer(verify("GET", "/service"), KEY), "200")
        .await;
}
