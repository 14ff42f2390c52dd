//! `/verify`, for proxies that front something else with our keys.
//! Traefik `ForwardAuth`, nginx `auth_request`, Envoy `ext_authz` over HTTP.

use serde_json::json;
use tests::wasm_host::Request;

use crate::gateway::{ALICE, Gateway, base, base_with};

#[test]
fn a_key_is_vouched_for_and_its_client_named() {
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
        assert!(exchange.upstream.is_none(), "the filter answers by itself");
    }
    for exchange in gateway.send(Request::get("/verify").header("x-codex-edge-client", "root")) {
        assert_eq!(
            (exchange.status(), exchange.header("x-codex-edge-client")),
            (401, None)
        );
        assert!(exchange.header("www-authenticate").is_some());
    }
}

/// A question about a request: `(method, uri)` as a proxy forwards them, empty for none.
fn asks(method: &str, uri: &str) -> Request {
    let fields = [("x-forwarded-method", method), ("x-forwarded-uri", uri)];
    let sent = fields.into_iter().filter(|(_, value)| !value.is_empty());
    sent.fold(Request::get("/verify"), |request, (name, value)| {
        request.header(name, value)
    })
}

#[test]
fn the_forwarded_request_decides_whether_a_key_is_needed() {
    let mut gateway = Gateway::new(&base());
    let cases = [
        (asks("GET", "/v1/usage"), "401 invalid_api_key", "200"),
        (
            asks("POST", "/v1/chat/completions"),
            "401 invalid_api_key",
            "200",
        ),
        (asks("GET", "/somebody/elses"), "401 invalid_api_key", "200"),
        (asks("GET", "/healthz"), "200", "200"),
        (asks("HEAD", "/v1/responses"), "200", "200"),
        (asks("OPTIONS", "/somebody/elses"), "204", "204"),
        (asks("", "/healthz"), "401 invalid_api_key", "200"),
        (asks("GET", ""), "401 invalid_api_key", "200"),
        (
            asks("GET", "/healthz").header("x-forwarded-uri", "/v1/usage"),
            "401 invalid_api_key",
            "200",
        ),
        (asks("\u{fffd}", "/\u{fffd}"), "401 invalid_api_key", "200"),
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
fn guessing_through_verify_is_slow_too() {
    let limit = json!({"requests": 2, "window_ms": 60_000});
    let mut gateway = Gateway::new(&base_with(json!({"unauthenticated_rate_limit": limit})));
    gateway.check(asks("GET", "/x"), "401 invalid_api_key");
    gateway.check(asks("GET", "/x"), "401 invalid_api_key");
    gateway.check(asks("GET", "/x"), "429 rate_limited");
}
