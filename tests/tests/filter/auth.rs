//! API keys: the routes that need one, their form, and the identity headers for the upstream.
//! Follows RFC 6750, section 2.1.

use std::time::{Duration, SystemTime};

use serde_json::json;
use tests::wasm_host::{Headers, Request};

use crate::gateway::{ALICE, Gateway, base, base_with, builder, good_chat, outcome, upstream};

#[test]
fn guarded_routes_need_a_key_and_open_routes_do_not() {
    let mut gateway = Gateway::new(&base());
    let cases = [
        ("GET", "/healthz", "forwarded"),
        ("HEAD", "/livez", "forwarded"),
        ("GET", "/readyz/", "forwarded"),
        ("GET", "/v1/models", "forwarded"),
        ("GET", "/v1/models/codex-5", "forwarded"),
        ("HEAD", "/v1/chat/completions", "forwarded"),
        ("HEAD", "/v1/completions", "forwarded"),
        ("HEAD", "/v1/responses", "forwarded"),
        ("OPTIONS", "/anything", "204"),
        ("POST", "/v1/chat/completions", "401 invalid_api_key"),
        ("POST", "/v1/chat/completions/?x=1", "401 invalid_api_key"),
        ("POST", "/v1/completions", "401 invalid_api_key"),
        ("POST", "/v1/responses", "401 invalid_api_key"),
        ("GET", "/v1/responses/resp_1", "401 invalid_api_key"),
        ("DELETE", "/v1/responses/resp_1", "401 invalid_api_key"),
        ("GET", "/v1/usage", "401 invalid_api_key"),
        ("GET", "/v1/usage/raw", "401 invalid_api_key"),
        ("POST", "/healthz", "401 invalid_api_key"),
        ("DELETE", "/v1/models/codex-5", "401 invalid_api_key"),
        ("GET", "/metrics", "401 invalid_api_key"),
        ("GET", "/", "401 invalid_api_key"),
        ("GET", "//healthz", "401 invalid_api_key"),
        ("GET", "/healthz/../v1/usage", "401 invalid_api_key"),
        ("GET", "/healthz%2f..%2fv1%2fusage", "401 invalid_api_key"),
        ("GET", "/HEALTHZ", "401 invalid_api_key"),
        ("GET", "/v1/models/../usage", "401 invalid_api_key"),
    ];
    for (method, path, expected) in cases {
        gateway.check(Request::new(method, path), expected);
        let with_key = Request::new(method, path).header("authorization", ALICE);
        let expected = match (method, path) {
            ("OPTIONS", _) => "204",
            // A generating POST needs a body as well.
            ("POST", path) if path.starts_with("/v1/") => "400 invalid_json",
            _ => "forwarded",
        };
        gateway.check(with_key, expected);
    }
}

#[test]
fn protected_model_list_needs_a_key() {
    let mut gateway = Gateway::new(&base_with(json!({"protect_models": true})));
    for path in ["/v1/models", "/v1/models/", "/v1/models/codex-5"] {
        gateway.check(Request::get(path), "401 invalid_api_key");
        gateway.check(
            Request::get(path).header("authorization", ALICE),
            "forwarded",
        );
    }
}

#[test]
fn only_a_bearer_token_with_the_exact_key_passes() {
    let mut gateway = Gateway::new(&base());
    let cases: [(&[u8], &str); 16] = [
        (b"Bearer sk-alice", "forwarded"),
        (b"bearer sk-alice", "forwarded"),
        (b"BEARER sk-alice", "forwarded"),
        (b"Bearer  sk-alice", "forwarded"),
        (b"Bearer sk-alic", "401 invalid_api_key"),
        (b"Bearer sk-alicee", "401 invalid_api_key"),
        (b"Bearer SK-ALICE", "401 invalid_api_key"),
        (b"Bearer sk-alice,sk-bob", "401 invalid_api_key"),
        (b"Bearer sk-alice\0", "401 invalid_api_key"),
        (b"Bearer \xff\xfe", "401 invalid_api_key"),
        (b"Bearer", "401 invalid_api_key"),
        (b"Bearer ", "401 invalid_api_key"),
        (b"sk-alice", "401 invalid_api_key"),
        (b"Basic c2stYWxpY2U=", "401 invalid_api_key"),
        (b"Bearersk-alice", "401 invalid_api_key"),
        (b"", "401 invalid_api_key"),
    ];
    for (authorization, expected) in cases {
        let request = Request::get("/v1/usage").header("authorization", authorization);
        gateway.check(request, expected);
    }
}

#[test]
fn repeated_authorization_is_rejected_even_if_both_are_valid() {
    let mut gateway = Gateway::new(&base());
    let request = Request::get("/v1/usage")
        .header("authorization", ALICE)
        .header("Authorization", ALICE);
    gateway.check(request, "401 invalid_api_key");
}

#[test]
fn response_401_has_a_challenge_and_no_part_of_the_key() {
    let mut gateway = Gateway::new(&base());
    let request = Request::get("/v1/usage").header("authorization", "Bearer sk-guess-4711");
    for exchange in gateway.send(request) {
        let challenge = exchange.header("www-authenticate");
        assert_eq!(challenge.as_deref(), Some("Bearer realm=\"api\""));
        let body: serde_json::Value = serde_json::from_str(&exchange.response().text()).unwrap();
        assert_eq!(body["error"]["type"], "authentication_error");
        let output =
            format!("{:?} {:?}", exchange.response().headers, exchange.logs) + &body.to_string();
        assert!(!output.contains("4711"), "{output}");
        assert!(exchange.upstream.is_none());
    }
}

#[test]
fn keys_never_reach_the_log() {
    let host = builder(&base()).start().unwrap();
    let logs = format!("{:?}", host.start_logs());
    assert!(
        logs.contains("sha256"),
        "a plain key is warned about: {logs}"
    );
    assert!(
        !logs.contains("sk-alice") && !logs.contains("sk-bob"),
        "{logs}"
    );
    for exchange in Gateway::new(&base()).send(good_chat()) {
        assert!(!format!("{:?}", exchange.logs).contains("sk-alice"));
    }
}

#[test]
fn key_configured_by_hash_passes_and_the_hash_does_not() {
    // printf sk-carol | sha256sum
    let hash = "1d0e7afc963efdf084924177294d02cc02800e540bf46e7b846529396be4eddf";
    let carol = json!([{"id": "carol", "sha256": hash}]);
    let mut gateway = Gateway::new(&base_with(json!({"keys": carol})));
    let usage =
        |key: &str| Request::get("/v1/usage").header("authorization", format!("Bearer {key}"));
    gateway.check(usage("sk-carol"), "forwarded");
    gateway.check(usage(hash), "401 invalid_api_key");
}

#[test]
fn expired_and_disabled_keys_are_rejected() {
    let keys = json!([
        {"id": "soon", "key": "sk-soon", "expires_at": "2026-01-01T01:00:00Z"},
        {"id": "off", "key": "sk-off", "disabled": true},
        {"id": "on", "key": "sk-on"},
    ]);
    let mut gateway = Gateway::new(&base_with(json!({"keys": keys})));
    let usage =
        |key: &str| Request::get("/v1/usage").header("authorization", format!("Bearer {key}"));
    gateway.check(usage("sk-soon"), "forwarded");
    gateway.check(usage("sk-off"), "401 invalid_api_key");
    let end = gateway.0[0].clock().wall() + Duration::from_secs(3600);
    let set_clocks = |gateway: &Gateway, to: SystemTime| {
        gateway.0.iter().for_each(|host| host.clock().set_wall(to));
    };
    set_clocks(&gateway, end - Duration::from_nanos(1));
    gateway.check(usage("sk-soon"), "forwarded");
    set_clocks(&gateway, end);
    gateway.check(usage("sk-soon"), "401 invalid_api_key");
    gateway.check(usage("sk-on"), "forwarded");
}

#[test]
fn auth_none_forwards_all_and_a_key_still_identifies() {
    let mut gateway = Gateway::new(&base_with(json!({"auth": "none"})));
    for exchange in gateway.send(Request::get("/v1/usage")) {
        assert_eq!(exchange.upstream_headers().get("x-codex-edge-client"), None);
    }
    for exchange in gateway.send(Request::get("/v1/usage").header("authorization", ALICE)) {
        let client = exchange.upstream_headers().text("x-codex-edge-client");
        assert_eq!(client.as_deref(), Some("alice"));
    }
}

/// The internal headers at the upstream, in any spelling.
fn internal(headers: &Headers) -> Vec<String> {
    let names = headers.iter().map(|(name, value)| {
        let (name, value) = (
            String::from_utf8_lossy(name),
            String::from_utf8_lossy(value),
        );
        format!("{name}={value}")
    });
    let mut headers: Vec<_> = names
        .filter(|header| header.replace('_', "-").starts_with("x-codex-edge-"))
        .collect();
    headers.sort();
    headers
}

fn forged(request: Request) -> Request {
    let names = [
        "x-codex-edge-client",
        "X-Codex-Edge-Client",
        "x-codex-edge-admin",
        "x-codex-edge-profile",
        "x-codex-edge-models",
        "x_codex_edge_client",
        "x-codex_edge-admin",
        "X-CODEX-EDGE-anything",
    ];
    let request = names
        .into_iter()
        .fold(request, |request, name| request.header(name, "root"));
    request.header("x-codex-edge-client", b"\xff")
}

#[test]
fn identity_headers_reach_the_upstream_and_forged_ones_do_not() {
    let mut gateway = Gateway::new(&base());
    let bob = [
        "x-codex-edge-admin=true",
        "x-codex-edge-client=bob",
        "x-codex-edge-models=codex-5*",
        "x-codex-edge-profile=agent",
    ];
    let cases: [(Request, &[&str]); 4] = [
        (good_chat(), &["x-codex-edge-client=alice"]),
        (
            good_chat().set_header("authorization", "Bearer sk-bob"),
            &bob,
        ),
        (Request::get("/healthz"), &[]),
        (
            Request::get("/healthz").header("authorization", "Bearer wrong"),
            &[],
        ),
    ];
    for (request, expected) in cases {
        for request in [request.clone(), forged(request)] {
            for exchange in gateway.send(request) {
                assert_eq!(outcome(&exchange), "forwarded");
                assert_eq!(internal(exchange.upstream_headers()), expected);
                assert_eq!(exchange.upstream_headers().get("authorization"), None);
            }
        }
    }
}

#[test]
fn valid_request_id_is_kept_and_an_invalid_one_replaced() {
    let mut gateway = Gateway::new(&base());
    let cases: [(&[u8], bool); 5] = [
        (b"req_1.a-Z", true),
        (b"", false),
        (b"a b", false),
        (b"\xff", false),
        (&[b'a'; 129], false),
    ];
    for (id, is_valid) in cases {
        let rejected = Request::get("/v1/usage").set_header("x-request-id", id);
        for exchange in gateway.send(rejected) {
            check_id(exchange.header("x-request-id"), id, is_valid);
        }
        for exchange in gateway.send(good_chat().set_header("x-request-id", id)) {
            check_id(
                exchange.upstream_headers().text("x-request-id"),
                id,
                is_valid,
            );
        }
    }
}

fn check_id(id: Option<String>, sent: &[u8], is_valid: bool) {
    let id = id.unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    assert!(!id.is_empty() && id.bytes().all(plain), "{id}");
    assert_eq!(id.as_bytes() == sent, is_valid, "{id}");
}

#[test]
fn workers_of_one_host_share_the_configuration() {
    let mut host = builder(&base()).workers(3).start().unwrap();
    for worker in host.workers() {
        let exchange = worker.exchange(good_chat(), upstream);
        assert_eq!(outcome(&exchange), "forwarded");
        let exchange = worker.exchange(good_chat().without("authorization"), upstream);
        assert_eq!(outcome(&exchange), "401 invalid_api_key");
    }
}
