//! Tests of the whole decision: one line for each request head and its verdict.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::body::Body;
use crate::config::Config;
use crate::cors::Cors;
use crate::head::RequestHead;
use crate::head::tests::header_map;
use crate::rate_limit::{SharedData, SharedValue};
use crate::route::Route;

/// A host with a fixed clock, one client address, and its own shared data.
#[derive(Default)]
struct FakeHost {
    shared: RefCell<HashMap<String, Vec<u8>>>,
}

impl SharedData for FakeHost {
    fn read(&self, key: &str) -> SharedValue {
        let value = self.shared.borrow().get(key).cloned();
        value.map_or(SharedValue::Missing, |value| SharedValue::Found(value, 1))
    }

    fn replace(&self, key: &str, value: &[u8], _: Option<u32>) -> bool {
        self.shared
            .borrow_mut()
            .insert(key.to_owned(), value.to_vec());
        true
    }
}

impl PolicyHost for FakeHost {
    fn now(&self) -> Option<SystemTime> {
        Some(SystemTime::UNIX_EPOCH + Duration::from_hours(100))
    }

    fn is_http1(&self) -> bool {
        true
    }

    fn client_address(&self) -> Option<Vec<u8>> {
        Some(b"192.0.2.1:4711".to_vec())
    }

    fn fresh_request_id(&self) -> String {
        "fresh".to_owned()
    }
}

const CONFIG: &str = r#"{
    "keys": [
        {"id": "alice", "key": "sk-alice"},
        {"id": "bob", "key": "sk-bob", "admin": true, "profile": "agent", "models": ["codex-5*"],
         "rate_limit": {"requests": 1, "window_ms": 10000}},
        {"id": "old", "key": "sk-old", "expires_at": "1970-01-05T04:00:00Z"},
        {"id": "gone", "key": "sk-gone", "disabled": true}
    ],
    "unauthenticated_rate_limit": {"requests": 3, "window_ms": 60000}
}"#;

fn load(json: &str) -> Config {
    Config::load(json.as_bytes(), &Default::default(), SystemTime::UNIX_EPOCH).unwrap()
}

/// A request as lines: `GET /path`, then `name: value`.
fn decide(config: &Config, host: &FakeHost, request: &str) -> Decision<'static> {
    let mut lines = request.lines().map(str::trim);
    let (method, path) = lines.next().unwrap().split_once(' ').unwrap();
    let sent = lines.map(|line| line.split_once(": ").unwrap());
    let headers: Vec<_> = [
        (":method", method),
        (":path", path),
        ("x-request-id", "id-1"),
    ]
    .into_iter()
    .chain(sent)
    .map(|(name, value)| (name, value.as_bytes()))
    .collect();
    // A decision borrows from the request; leaked, the request lives as long as the test.
    on_request_head(config, &RequestHead::new(header_map(&headers).leak()), host)
}

/// The verdict in a line.
fn describe(decision: &Decision) -> String {
    match &decision.verdict {
        Verdict::Forward(Body::Passthrough { .. }) => "forward".to_owned(),
        Verdict::Forward(Body::Gated(_)) => "gate".to_owned(),
        Verdict::Forward(Body::Draining(_)) => panic!("a drained body is never forwarded"),
        Verdict::Reply(reply) | Verdict::ReplyAfterBody(reply) => {
            format!("{} {}", reply.status, reply.outcome.name())
        }
    }
}

fn is_drained(decision: &Decision) -> bool {
    matches!(decision.verdict, Verdict::ReplyAfterBody(_))
}

fn check(request: &str, expected: &str) {
    assert_eq!(
        describe(&decide(&load(CONFIG), &FakeHost::default(), request)),
        expected,
        "{request}"
    );
}

#[test]
fn each_request_has_its_verdict() {
    let cases = [
        ("GET /healthz", "forward"),
        ("HEAD /v1/chat/completions", "forward"),
        ("GET /v1/models", "forward"),
        ("GET /v1/models\nauthorization: Bearer wrong", "forward"),
        ("GET /v1/usage", "401 invalid_api_key"),
        ("GET /v1/usage\nauthorization: Bearer sk-alice", "forward"),
        ("GET /v1/usage\nauthorization: bearer sk-alice", "forward"),
        (
            "GET /v1/usage\nauthorization: Basic sk-alice",
            "401 invalid_api_key",
        ),
        (
            "GET /v1/usage\nauthorization: Bearer sk-alic",
            "401 invalid_api_key",
        ),
        (
            "GET /v1/usage\nauthorization: Bearer sk-old",
            "401 invalid_api_key",
        ),
        (
            "GET /v1/usage\nauthorization: Bearer sk-gone",
            "401 invalid_api_key",
        ),
        (
            "GET /v1/usage\nauthorization: Bearer sk-alice\nauthorization: Bearer sk-alice",
            "401 invalid_api_key",
        ),
        ("POST /v1/messages\nx-api-key: sk-alice", "gate"),
        (
            "POST /v1/messages/count_tokens?beta=true\nauthorization: Bearer sk-alice",
            "gate",
        ),
        (
            "POST /v1/messages\nx-api-key: sk-alice\nauthorization: Bearer sk-alice",
            "gate",
        ),
        (
            "POST /v1/messages\nx-api-key: sk-alice\nauthorization: Bearer sk-bob",
            "401 invalid_api_key",
        ),
        (
            "POST /v1/messages\nx-api-key: sk-alice\nx-api-key: sk-alice",
            "401 invalid_api_key",
        ),
        (
            "POST /v1/chat/completions\nx-api-key: sk-alice",
            "401 invalid_api_key",
        ),
        (
            "GET /v1/models\nanthropic-version: 1\nx-api-key: sk-alice\nauthorization: Bearer sk-bob",
            "401 invalid_api_key",
        ),
        (
            "GET /verify/v1/messages\nx-api-key: sk-alice",
            "200 verified",
        ),
        ("GET /no/such/thing", "401 invalid_api_key"),
        (
            "GET /no/such/thing\nauthorization: Bearer sk-alice",
            "forward",
        ),
        ("POST /v1/chat/completions", "401 invalid_api_key"),
        (
            "POST /v1/chat/completions\nauthorization: Bearer sk-alice",
            "gate",
        ),
        (
            "POST /v1/responses/\nauthorization: Bearer sk-alice",
            "gate",
        ),
        (
            "POST /v1/chat/completions\nauthorization: Bearer sk-alice\ncontent-length: 16777216",
            "gate",
        ),
        (
            "POST /v1/chat/completions\nauthorization: Bearer sk-alice\ncontent-length: 16777217",
            "413 body_too_large",
        ),
        (
            "POST /v1/chat/completions\ncontent-length: 16777217",
            "401 invalid_api_key",
        ),
        ("OPTIONS /v1/chat/completions", "204 options"),
        (
            "OPTIONS /no/such/thing\norigin: https://a.example\naccess-control-request-method: POST",
            "204 options",
        ),
        ("GET /verify", "401 invalid_api_key"),
        (
            "GET /verify\nauthorization: Bearer sk-alice",
            "200 verified",
        ),
        (
            "POST /verify\nauthorization: Bearer sk-alice",
            "405 method_not_allowed",
        ),
        (
            "GET /verify\nx-forwarded-method: OPTIONS\nx-forwarded-uri: /v1/chat/completions",
            "204 options",
        ),
        (
            "GET /verify\nx-forwarded-method: GET\nx-forwarded-uri: /healthz?x=1",
            "200 verified",
        ),
        (
            "GET /verify\nx-forwarded-method: GET\nx-forwarded-uri: /v1/usage",
            "401 invalid_api_key",
        ),
        (
            "GET /verify\nx-forwarded-uri: /healthz",
            "401 invalid_api_key",
        ),
        (
            "GET /verify\nx-forwarded-method: GET",
            "401 invalid_api_key",
        ),
        (
            "GET /verify\nx-forwarded-method: GET\nx-forwarded-uri: /healthz\nx-forwarded-uri: /v1/usage",
            "401 invalid_api_key",
        ),
        ("POST /verify/v1/chat/completions", "401 invalid_api_key"),
        (
            "POST /verify/v1/chat/completions\nauthorization: Bearer sk-alice",
            "200 verified",
        ),
        ("GET /verify/healthz", "200 verified"),
    ];
    for (request, expected) in cases {
        check(request, expected);
    }
}

#[test]
fn empty_head_is_unauthenticated() {
    let decision = on_request_head(&load(CONFIG), &RequestHead::default(), &FakeHost::default());
    assert_eq!(describe(&decision), "401 invalid_api_key");
}

#[test]
fn protected_model_list_needs_a_key() {
    let config = load(r#"{"keys": [{"id": "a", "key": "k"}], "protect_models": true}"#);
    let cases = [
        ("GET /v1/models", "401 invalid_api_key"),
        ("GET /v1/models/codex-5", "401 invalid_api_key"),
        ("GET /v1/models\nauthorization: Bearer k", "forward"),
    ];
    for (request, expected) in cases {
        assert_eq!(
            describe(&decide(&config, &FakeHost::default(), request)),
            expected,
            "{request}"
        );
    }
}

#[test]
fn auth_none_forwards_all_and_a_key_still_identifies() {
    let config = load(
        r#"{"auth": "none", "keys": [{"id": "a", "key": "k"}], "rate_limit": {"requests": 1}}"#,
    );
    let host = FakeHost::default();
    let post = |more: &str| decide(&config, &host, &format!("POST /v1/responses{more}"));
    assert_eq!(describe(&post("")), "gate");
    assert_eq!(describe(&post("")), "429 rate_limited");
    let known = post("\nauthorization: Bearer k");
    assert_eq!(describe(&known), "gate");
    assert!(known.added_headers().eq([("x-codex-edge-client", "a")]));
}

#[test]
fn internal_headers_of_the_client_are_removed() {
    let request = "GET /healthz
        x-codex-edge-client: root
        X-Codex-Edge-Admin: true
        x-codex-edge-client: root
        authorization: Bearer wrong";
    let decision = decide(&load(CONFIG), &FakeHost::default(), request);
    assert_eq!(
        decision.remove,
        ["x-codex-edge-client", "X-Codex-Edge-Admin", "authorization"]
    );
    assert_eq!(decision.added_headers().next(), None);
}

#[test]
fn identity_headers_are_added_for_the_upstream() {
    let request = "GET /v1/usage\nauthorization: Bearer sk-bob";
    let decision = decide(&load(CONFIG), &FakeHost::default(), request);
    let expected = [
        ("x-codex-edge-client", "bob"),
        ("x-codex-edge-profile", "agent"),
        ("x-codex-edge-admin", "true"),
        ("x-codex-edge-models", "codex-5*"),
    ];
    assert!(decision.added_headers().eq(expected));
    assert_eq!(decision.remove, ["authorization"]);
}

#[test]
fn invalid_request_id_is_replaced() {
    let long = "a".repeat(129);
    let cases: [(&[u8], &str); 6] = [
        (b"id_1.2-3", "id_1.2-3"),
        (&long.as_bytes()[..128], &long[..128]),
        (long.as_bytes(), "fresh"),
        (b"", "fresh"),
        (b"a b", "fresh"),
        (b"\xff", "fresh"),
    ];
    for (sent, id) in cases {
        let map = header_map(&[
            (":method", b"GET"),
            (":path", b"/healthz"),
            ("x-request-id", sent),
        ]);
        let decision =
            on_request_head(&load(CONFIG), &RequestHead::new(&map), &FakeHost::default());
        assert_eq!(decision.response.request_id.as_str(), id);
        let replaced = (id == "fresh").then_some("x-request-id");
        let added = decision.added_headers().map(|(name, _)| name);
        assert!(added.eq(replaced), "{id}");
        assert!(decision.remove.iter().copied().eq(replaced), "{id}");
    }
}

#[test]
fn only_turns_and_reads_of_the_usage_are_charged() {
    let (config, host) = (load(CONFIG), FakeHost::default());
    for request in [
        "GET /v1/models",
        "DELETE /v1/responses/r1",
        "POST /v1/responses/r1/cancel",
    ] {
        let decision = decide(
            &config,
            &host,
            &format!("{request}\nauthorization: Bearer sk-bob"),
        );
        assert_eq!(
            (describe(&decision), decision.response.quota),
            ("forward".to_owned(), None)
        );
    }
    for path in ["/v1/usage", "/v1/usage/raw?limit=1"] {
        let read = format!("GET {path}\nauthorization: Bearer sk-bob");
        let decision = decide(&config, &FakeHost::default(), &read);
        assert!(decision.response.quota.is_some(), "{path}");
    }
    let post = "POST /v1/chat/completions\nauthorization: Bearer sk-bob";
    let first = decide(&config, &host, post);
    assert_eq!(
        first
            .response
            .quota
            .unwrap()
            .headers()
            .map(|(_, value)| value),
        ["1", "0", "10s"].map(str::to_owned)
    );
    let second = decide(&config, &host, post);
    assert_eq!(describe(&second), "429 rate_limited");
    assert!(second.response.quota.is_some());
    assert_eq!(
        describe(&decide(
            &config,
            &host,
            "POST /v1/chat/completions\nauthorization: Bearer sk-alice"
        )),
        "gate"
    );
}

#[test]
fn guessed_keys_are_limited_by_address_and_valid_keys_are_not() {
    let (config, host) = (load(CONFIG), FakeHost::default());
    for _ in 0..3 {
        assert_eq!(
            describe(&decide(
                &config,
                &host,
                "GET /v1/usage\nauthorization: Bearer guess"
            )),
            "401 invalid_api_key"
        );
    }
    let decision = decide(&config, &host, "GET /v1/usage\nauthorization: Bearer guess");
    assert_eq!(describe(&decision), "429 stranger_rate_limited");
    assert_eq!(
        describe(&decide(
            &config,
            &host,
            "GET /v1/usage\nauthorization: Bearer sk-alice"
        )),
        "forward"
    );
    assert_eq!(describe(&decide(&config, &host, "GET /healthz")), "forward");
    assert_eq!(host.shared.borrow().len(), 1);
}

#[test]
fn preflight_response_has_allow_and_cors_headers() {
    let request = "OPTIONS /v1/chat/completions
        origin: https://app.example
        access-control-request-method: POST
        access-control-request-headers: authorization, x-mine";
    let decision = decide(&load(CONFIG), &FakeHost::default(), request);
    let Verdict::Reply(reply) = &decision.verdict else {
        panic!("forwarded")
    };
    assert!(
        reply
            .headers
            .contains(&("allow", "POST, HEAD, OPTIONS".to_owned()))
    );
    assert!(reply.headers.contains(&(
        "access-control-allow-headers",
        "authorization, x-mine".to_owned()
    )));
    assert_eq!(reply.body, None);
    assert_eq!(
        decision.response.cors,
        Cors::Any(Some("https://app.example".to_owned()))
    );
}

#[test]
fn rejection_waits_for_a_short_body_when_headers_can_be_held() {
    let holding = CONFIG.replacen('{', r#"{"hold_headers": true,"#, 1);
    let small = holding.replacen('{', r#"{"max_body_bytes": 10,"#, 1);
    for (config, request, length, expected) in [
        (holding.as_str(), "POST /v1/chat/completions", 0, false),
        (&holding, "POST /v1/chat/completions", 1, true),
        (&holding, "POST /v1/responses", 65_536, true),
        (&holding, "POST /v1/chat/completions", 65_537, false),
        (&small, "POST /v1/chat/completions", 10, true),
        (&small, "POST /v1/chat/completions", 11, false),
        (&holding, "POST /verify", 1, false),
        (&holding, "GET /v1/models", 1, false),
        (CONFIG, "POST /v1/chat/completions", 1, false),
    ] {
        let request = format!("{request}\ncontent-length: {length}");
        let decision = decide(&load(config), &FakeHost::default(), &request);
        assert_eq!(is_drained(&decision), expected, "{request}");
    }
}

#[test]
fn rate_limited_address_gets_no_buffered_body() {
    let config = load(&CONFIG.replacen('{', r#"{"hold_headers": true,"#, 1));
    let host = FakeHost::default();
    let request = "POST /v1/chat/completions\ncontent-length: 1";
    for expected in [true, true, true, false] {
        let decision = decide(&config, &host, request);
        assert_eq!(is_drained(&decision), expected, "{decision:?}");
    }
}

#[test]
fn client_beyond_a_bound_in_flight_gets_no_buffered_body() {
    let bounds = r#"{"hold_headers": true, "max_client_requests": 2,"#;
    let config = load(&CONFIG.replacen('{', bounds, 1));
    let host = FakeHost::default();
    let chat = |length: u64| {
        format!(
            "POST /v1/chat/completions\nauthorization: Bearer sk-alice\ncontent-length: {length}"
        )
    };
    let mut decisions = Vec::new();
    for (length, expected) in [(60 << 20, "413 body_too_large"), (9, "gate"), (9, "gate")] {
        decisions.push(decide(&config, &host, &chat(length)));
        assert_eq!(describe(&decisions[decisions.len() - 1]), expected);
    }
    let beyond = decide(&config, &host, &chat(9));
    assert_eq!(describe(&beyond), "429 client_requests_exceeded");
    assert!(!is_drained(&beyond));
    drop(decisions);
    assert_eq!(describe(&decide(&config, &host, &chat(9))), "gate");
}

proptest! {
    #[test]
    fn any_head_without_a_key_reaches_open_routes_only(
        headers in prop::collection::vec((
            prop::sample::select(vec![":method", ":path", "authorization", "origin", "content-length", "x-request-id",
                "access-control-request-method", "access-control-request-headers", "x-forwarded-uri", "x-codex-edge-client"]),
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                prop::sample::select(vec!["GET", "POST", "OPTIONS", "/v1/chat/completions", "/verify", "Bearer x", "/v1/usage"])
                    .prop_map(|text| text.as_bytes().to_vec()),
            ],
        ), 0..12),
    ) {
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, &value[..])).collect();
        let map = header_map(&headers);
        let head = RequestHead::new(&map);
        let decision = on_request_head(&load(CONFIG), &head, &FakeHost::default());
        if let Verdict::Forward(body) = &decision.verdict {
            let is_gated = matches!(body, Body::Gated(_));
            prop_assert!(!is_gated);
            prop_assert!(matches!(Route::of(head.method, head.path), Route::Open | Route::Models));
        }
        let identity = decision.added_headers().any(|(name, _)| name.starts_with("x-codex-edge-"));
        prop_assert!(!identity);
    }
}

#[test]
fn page_without_a_key_must_be_listed_where_no_key_is_needed() {
    let listed = r#"{"auth": "none", "cors": {"allowed_origins": ["https://app.example"]}}"#;
    for (config, origin, expected) in [
        (r#"{"auth": "none"}"#, "", "forward"),
        (r#"{"auth": "none"}"#, "https://app.example", "403"),
        (listed, "https://app.example", "forward"),
        (listed, "https://evil.example", "403"),
        (listed, "null", "403"),
        (
            r#"{"auth": "none", "cors": {"enabled": false}}"#,
            "https://a.example",
            "forward",
        ),
        (CONFIG, "https://evil.example", "401"),
    ] {
        for request in [
            "POST /v1/chat/completions",
            "GET /v1/usage",
            "DELETE /v1/responses/r",
        ] {
            let origin = match origin {
                "" => String::new(),
                origin => format!("\norigin: {origin}"),
            };
            let decision = decide(
                &load(config),
                &FakeHost::default(),
                &format!("{request}{origin}"),
            );
            let described = describe(&decision).replace("gate", "forward");
            assert!(
                described.starts_with(expected),
                "{config} {request}{origin}"
            );
        }
        let health = format!("GET /healthz\norigin: {origin}.");
        assert_eq!(
            describe(&decide(&load(config), &FakeHost::default(), &health)),
            "forward"
        );
    }
}

#[test]
fn repeated_host_is_rejected_before_any_other_check() {
    for request in [
        "GET /healthz",
        "OPTIONS /v1/models",
        "GET /verify",
        "POST /v1/responses",
    ] {
        let repeated = format!("{request}\n:authority: edge,other");
        let decision = decide(&load(CONFIG), &FakeHost::default(), &repeated);
        assert!(
            describe(&decision).starts_with("400"),
            "{request}: {decision:?}"
        );
    }
}

/// Returns the status and the `retry-after` of the filter's own response to a chat of alice; `None` if it is forwarded.
fn chat_of_alice(config: &Config, host: &FakeHost) -> Option<(u16, String)> {
    let map = header_map(&[
        (":method", b"POST"),
        (":path", b"/v1/chat/completions"),
        ("authorization", b"Bearer sk-alice"),
        ("x-codex-edge-budget", b"day=999"),
    ]);
    let head = RequestHead::new(&map);
    let decision = on_request_head(config, &head, host);
    assert_eq!(decision.remove.first(), Some(&"x-codex-edge-budget"));
    match decision.verdict {
        Verdict::Forward(_) => {
            let budget = decision
                .added_headers()
                .find(|(name, _)| *name == "x-codex-edge-budget");
            assert_eq!(budget, Some(("x-codex-edge-budget", "day=100")));
            None
        }
        Verdict::Reply(reply) | Verdict::ReplyAfterBody(reply) => {
            let wait = reply
                .headers
                .iter()
                .find(|(name, _)| *name == "retry-after");
            Some((reply.status, wait.unwrap().1.clone()))
        }
    }
}

#[test]
fn spent_budget_rejects_until_its_end_or_another_configuration() {
    let host = FakeHost::default();
    let load = |budget: &str| {
        let json =
            format!(r#"{{"keys": [{{"id": "alice", "key": "sk-alice", "budget": "{budget}"}}]}}"#);
        Config::load(json.as_bytes(), &Default::default(), SystemTime::UNIX_EPOCH).unwrap()
    };
    let config = load("day=100");
    assert_eq!(chat_of_alice(&config, &host), None);
    let now_ms = 100 * 3_600_000_u64;
    let store = |until_ms: u64| {
        let text = until_ms.to_string();
        crate::budget::store_spent(&host, "alice", text.as_bytes(), config.fingerprint);
    };
    store(now_ms + 1500);
    let rejected = Some((429, "2".to_owned()));
    assert_eq!(chat_of_alice(&config, &host), rejected);
    // Another configuration of the same budget: a key that is written anew is open.
    assert_eq!(chat_of_alice(&load("day = 100"), &host), None);
    crate::budget::store_spent(&host, "alice", b"soon", config.fingerprint);
    assert_eq!(chat_of_alice(&config, &host), rejected);
    store(now_ms);
    assert_eq!(chat_of_alice(&config, &host), None);
}
