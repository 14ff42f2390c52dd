//! `/verify`, the forward-auth endpoint for other proxies.
//! Follows Traefik's `ForwardAuth`, nginx's `auth_request` and Envoy's `ext_authz` over HTTP.

use serde_json::json;
use tests::wasm_host::Request;

use crate::gateway::{ALICE, Gateway, base, base_with};

#[test]
fn verify_returns_the_client_of_a_valid_key() {
    let mut gateway = Gateway::new(&base());
    for exchange in gateway.send(Request::get("/verify").header("authorization", ALICE)) {
        assert_eq!(
            (exchange.status(), exchange.response().text()),
            (200, r#"{"ok":true}"#.to_owned())
        );
        assert_eq!(
            exchange.header("x-codex-edge-client").as_deref(),
            Some("alice")
        );
        assert!(exchange.upstream.is_none(), "the filter responds itself");
    }
    for exchange in gateway.send(Request::get("/verify").header("x-codex-edge-client", "root")) {
        assert_eq!(
            (exchange.status(), exchange.header("x-codex-edge-client")),
            (401, None)
        );
        assert!(exchange.header("www-authenticate").is_some());
    }
}

/// A request to `/verify` about `method` and `uri`, as a proxy forwards them; an empty text means no header.
fn verify(method: &str, uri: &str) -> Request {
    let headers = [("x-forwarded-method", method), ("x-forwarded-uri", uri)];
    let sent = headers.into_iter().filter(|(_, value)| !value.is_empty());
    sent.fold(Request::get("/verify"), |request, (name, value)| {
        request.header(name, value)
    })
}

#[test]
fn forwarded_request_decides_whether_verify_needs_a_key() {
    let mut gateway = Gateway::new(&base());
    let cases = [
        (verify("GET", "/v1/usage"), "401 invalid_api_key", "200"),
        (
            verify("POST", "/v1/chat/completions"),
            "401 invalid_api_key",
            "200",
        ),
        (verify("GET", "/other/path"), "401 invalid_api_key", "200"),
        (verify("GET", "/healthz"), "200", "200"),
        (verify("HEAD", "/v1/responses"), "200", "200"),
        (verify("OPTIONS", "/other/path"), "204", "204"),
        (verify("", "/healthz"), "401 invalid_api_key", "200"),
        (verify("GET", ""), "401 invalid_api_key", "200"),
        (
            verify("GET", "/healthz").header("x-forwarded-uri", "/v1/usage"),
            "401 invalid_api_key",
            "200",
        ),
        (
            verify("\u{fffd}", "/\u{fffd}"),
            "401 invalid_api_key",
            "200",
        ),
        (Request::get("/verify/"), "401 invalid_api_key", "200"),
        (Request::get("/verify?x=1"), "401 invalid_api_key", "200"),
        (Request::new("HEAD", "/verify"), "401", "200"),
        (Request::new("OPTIONS", "/verify"), "204", "204"),
        (
            Request::post("/verify"),
            "405 method_not_allowed",
            "405 method_not_allowed",
        ),
        (
            Request::new("DELETE", "/verify"),
            "405 method_not_allowed",
            "405 method_not_allowed",
        ),
        (
            Request::post("/verify/v1/chat/completions"),
            "401 invalid_api_key",
            "200",
        ),
        (Request::get("/verify/healthz"), "200", "200"),
    ];
    for (request, without_key, with_key) in cases {
        gateway.check(request.clone(), without_key);
        gateway.check(request.header("authorization", ALICE), with_key);
    }
}

#[test]
fn guessed_keys_at_verify_are_rate_limited() {
    let limit = json!({"requests": 2, "window_ms": 60_000});
    let mut gateway = Gateway::new(&base_with(json!({"unauthenticated_rate_limit": limit})));
    gateway.check(verify("GET", "/x"), "401 invalid_api_key");
    gateway.check(verify("GET", "/x"), "401 invalid_api_key");
    gateway.check(verify("GET", "/x"), "429 rate_limited");
}
