//! Keys: which routes need one, which forms it has, and who the upstream is told is calling.
//! RFC 6750, section 2.1.

use std::time::{Duration, SystemTime};

use serde_json::json;
use tests::wasm_host::{Headers, Request};

use crate::gateway::{ALICE, Gateway, base, base_with, builder, good_chat, outcome, upstream};

#[test]
fn what_needs_a_key_is_refused_without_and_passes_with_one() {
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
fn the_model_list_is_gated_when_it_is_protected() {
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
fn a_key_has_one_form() {
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
fn a_repeated_authorization_is_none_even_when_both_are_right() {
    let mut gateway = Gateway::new(&base());
    let request = Request::get("/v1/usage")
        .header("authorization", ALICE)
        .header("Authorization", ALICE);
    gateway.check(request, "401 invalid_api_key");
}

#[test]
fn a_401_says_how_to_authenticate_and_nothing_about_the_key() {
    let mut gateway = Gateway::new(&base());
    let request = Request::get("/v1/usage").header("authorization", "Bearer sk-guess-4711");
    for exchange in gateway.send(request) {
        let challenge = exchange.header("www-authenticate");
        assert_eq!(challenge.as_deref(), Some("Bearer realm=\"api\""));
        let body: serde_json::Value = serde_json::from_str(&exchange.response().text()).unwrap();
        assert_eq!(body["error"]["type"], "authentication_error");
        let told =
            format!("{:?} {:?}", exchange.response().headers, exchange.logs) + &body.to_string();
        assert!(!told.contains("4711"), "{told}");
        assert!(exchange.upstream.is_none());
    }
}

#[test]
fn no_key_reaches_a_log() {
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
fn a_key_may_be_configured_by_its_hash() {
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
fn a_key_ends_with_its_time_and_a_disabled_one_is_wrong() {
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
fn with_auth_none_everybody_passes_and_a_key_still_says_who() {
    let mut gateway = Gateway::new(&base_with(json!({"auth": "none"})));
    for exchange in gateway.send(Request::get("/v1/usage")) {
        assert_eq!(exchange.upstream_headers().get("x-codex-edge-client"), None);
    }
    for exchange in gateway.send(Request::get("/v1/usage").header("authorization", ALICE)) {
        let client = exchange.upstream_headers().text("x-codex-edge-client");
        assert_eq!(client.as_deref(), Some("alice"));
    }
}

/// The fields under our prefix, in any spelling, as the upstream saw them.
fn internal(headers: &Headers) -> Vec<String> {
    let names = headers.iter().map(|(name, value)| {
        let (name, value) = (
            String::from_utf8_lossy(name),
            String::from_utf8_lossy(value),
        );
        format!("{name}={value}")
    });
    let mut fields: Vec<_> = names
        .filter(|field| field.replace('_', "-").starts_with("x-codex-edge-"))
        .collect();
    fields.sort();
    fields
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
fn the_upstream_is_told_who_calls_and_nobody_can_forge_it() {
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
fn a_request_id_is_kept_when_it_is_sane_and_made_when_it_is_not() {
    let mut gateway = Gateway::new(&base());
    let cases: [(&[u8], bool); 5] = [
        (b"req_1.a-Z", true),
        (b"", false),
        (b"a b", false),
        (b"\xff", false),
        (&[b'a'; 129], false),
    ];
    for (id, is_sane) in cases {
        let refused = Request::get("/v1/usage").set_header("x-request-id", id);
        for exchange in gateway.send(refused) {
            check_id(exchange.header("x-request-id"), id, is_sane);
        }
        for exchange in gateway.send(good_chat().set_header("x-request-id", id)) {
            check_id(
                exchange.upstream_headers().text("x-request-id"),
                id,
                is_sane,
            );
        }
    }
}

fn check_id(told: Option<String>, sent: &[u8], is_sane: bool) {
    let told = told.unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    assert!(!told.is_empty() && told.bytes().all(plain), "{told}");
    assert_eq!(told.as_bytes() == sent, is_sane, "{told}");
}

#[test]
fn the_workers_of_one_host_agree() {
    let mut host = builder(&base()).workers(3).start().unwrap();
    for worker in host.workers() {
        let exchange = worker.exchange(good_chat(), upstream);
        assert_eq!(outcome(&exchange), "forwarded");
        let exchange = worker.exchange(good_chat().without("authorization"), upstream);
        assert_eq!(outcome(&exchange), "401 invalid_api_key");
    }
}
