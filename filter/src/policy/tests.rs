//! Tests of the whole decision: a request head in, what becomes of it out, one line a case.

use std::cell::RefCell;
use std::collections::HashMap;
use std::time::{Duration, SystemTime};

use proptest::prelude::*;

use super::*;
use crate::body::Body;
use crate::config::Config;
use crate::cors::Cors;
use crate::head::RequestHead;
use crate::head::tests::write_map;
use crate::rate_limit::{Entry, SharedData};
use crate::route::Route;

/// A host with a clock that stands still, one client address, and shared data of its own.
#[derive(Default)]
struct FakeHost {
    shared: RefCell<HashMap<String, Vec<u8>>>,
}

impl SharedData for FakeHost {
    fn read(&self, key: &str) -> Entry {
        let value = self.shared.borrow().get(key).cloned();
        value.map_or(Entry::Missing, |value| Entry::Found(value, 1))
    }

    fn replace(&self, key: &str, value: &[u8], _: Option<u32>) -> bool {
        self.shared
            .borrow_mut()
            .insert(key.to_owned(), value.to_vec());
        true
    }
}

impl Host for FakeHost {
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
    let fields = lines.map(|line| line.split_once(": ").unwrap());
    let fields: Vec<_> = [
        (":method", method),
        (":path", path),
        ("x-request-id", "id-1"),
    ]
    .into_iter()
    .chain(fields)
    .collect();
    let fields: Vec<_> = fields
        .iter()
        .map(|(name, value)| (name.as_bytes(), value.as_bytes()))
        .collect();
    // Decisions borrow from the request, which here may live as long as the test.
    let map = write_map(&fields).leak();
    on_request_head(config, &RequestHead::parse(map).unwrap(), host)
}

/// What became of a request, in a line.
fn describe(decision: &Decision) -> String {
    match &decision.verdict {
        Verdict::Forward(Body::Flowing { .. }) => "forward".to_owned(),
        Verdict::Forward(Body::Gated(_)) => "gate".to_owned(),
        Verdict::Forward(Body::Discarded(_)) => panic!("what is refused goes nowhere"),
        Verdict::Reply(reply) => format!("{} {}", reply.status, reply.outcome.name()),
    }
}

fn check(request: &str, expected: &str) {
    assert_eq!(
        describe(&decide(&load(CONFIG), &FakeHost::default(), request)),
        expected,
        "{request}"
    );
}

#[test]
fn every_request_comes_to_its_end() {
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
fn an_empty_head_is_a_strangers() {
    let decision = on_request_head(&load(CONFIG), &RequestHead::default(), &FakeHost::default());
    assert_eq!(describe(&decision), "401 invalid_api_key");
}

#[test]
fn a_protected_model_list_needs_a_key() {
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
fn without_auth_everybody_passes_and_a_key_still_identifies() {
    let config = load(
        r#"{"auth": "none", "keys": [{"id": "a", "key": "k"}], "rate_limit": {"requests": 1}}"#,
    );
    let host = FakeHost::default();
    let post = |more: &str| decide(&config, &host, &format!("POST /v1/responses{more}"));
    assert_eq!(describe(&post("")), "gate");
    assert_eq!(describe(&post("")), "429 rate_limited");
    let known = post("\nauthorization: Bearer k");
    assert_eq!(describe(&known), "gate");
    assert!(known.set().eq([("x-codex-edge-client", "a")]));
}

#[test]
fn what_a_client_says_of_itself_is_taken_away() {
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
    assert_eq!(decision.set().next(), None);
}

#[test]
fn the_upstream_is_told_who_calls() {
    let request = "GET /v1/usage\nauthorization: Bearer sk-bob";
    let decision = decide(&load(CONFIG), &FakeHost::default(), request);
    let expected = [
        ("x-codex-edge-client", "bob"),
        ("x-codex-edge-profile", "agent"),
        ("x-codex-edge-admin", "true"),
        ("x-codex-edge-models", "codex-5*"),
    ];
    assert!(decision.set().eq(expected));
    assert_eq!(decision.remove, ["authorization"]);
}

#[test]
fn a_request_has_a_sane_id() {
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
        let map = write_map(&[
            (b":method", b"GET"),
            (b":path", b"/healthz"),
            (b"x-request-id", sent),
        ]);
        let decision = on_request_head(
            &load(CONFIG),
            &RequestHead::parse(&map).unwrap(),
            &FakeHost::default(),
        );
        assert_eq!(decision.answer.request_id, id);
        let replaced = (id == "fresh").then_some("x-request-id");
        assert!(decision.set().map(|(name, _)| name).eq(replaced), "{id}");
        assert!(decision.remove.iter().copied().eq(replaced), "{id}");
    }
}

#[test]
fn generating_is_charged_and_nothing_else() {
    let (config, host) = (load(CONFIG), FakeHost::default());
    for request in [
        "GET /v1/usage",
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
            (describe(&decision), decision.answer.quota),
            ("forward".to_owned(), None)
        );
    }
    let post = "POST /v1/chat/completions\nauthorization: Bearer sk-bob";
    let first = decide(&config, &host, post);
    assert_eq!(
        first.answer.quota.unwrap().fields().map(|(_, value)| value),
        ["1", "0", "10s"].map(str::to_owned)
    );
    let second = decide(&config, &host, post);
    assert_eq!(describe(&second), "429 rate_limited");
    assert!(second.answer.quota.is_some());
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
fn guessing_is_slow_and_costs_the_others_nothing() {
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
fn a_preflight_is_answered_in_full() {
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
            .fields
            .contains(&("allow", "POST, HEAD, OPTIONS".to_owned()))
    );
    assert!(reply.fields.contains(&(
        "access-control-allow-headers",
        "authorization, x-mine".to_owned()
    )));
    assert_eq!(reply.body, None);
    assert_eq!(
        decision.answer.cors,
        Cors::Origin("https://app.example".to_owned())
    );
}

#[test]
fn a_refusal_waits_for_a_short_body_where_heads_can_be_held() {
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
        assert_eq!(decision.takes_body_first, expected, "{request}");
    }
}

#[test]
fn nothing_is_held_for_strangers_beyond_their_rate() {
    let config = load(&CONFIG.replacen('{', r#"{"hold_headers": true,"#, 1));
    let host = FakeHost::default();
    let request = "POST /v1/chat/completions\ncontent-length: 1";
    for expected in [true, true, true, false] {
        let decision = decide(&config, &host, request);
        assert_eq!(decision.takes_body_first, expected, "{decision:?}");
    }
}

proptest! {
    #[test]
    fn no_head_does_harm_and_no_stranger_passes(
        fields in prop::collection::vec((
            prop::sample::select(vec![":method", ":path", "authorization", "origin", "content-length", "x-request-id",
                "access-control-request-method", "access-control-request-headers", "x-forwarded-uri", "x-codex-edge-client"]),
            prop_oneof![
                prop::collection::vec(any::<u8>(), 0..40),
                prop::sample::select(vec!["GET", "POST", "OPTIONS", "/v1/chat/completions", "/verify", "Bearer x", "/v1/usage"])
                    .prop_map(|text| text.as_bytes().to_vec()),
            ],
        ), 0..12),
    ) {
        let pairs: Vec<_> = fields.iter().map(|(name, value)| (name.as_bytes(), &value[..])).collect();
        let map = write_map(&pairs);
        let head = RequestHead::parse(&map).unwrap();
        let decision = on_request_head(&load(CONFIG), &head, &FakeHost::default());
        if let Verdict::Forward(body) = &decision.verdict {
            let is_gated = matches!(body, Body::Gated(_));
            prop_assert!(!is_gated);
            prop_assert!(matches!(Route::of(head.method, head.path), Route::Open | Route::Models));
        }
        let identity = decision.set().any(|(name, _)| name.starts_with("x-codex-edge-"));
        prop_assert!(!identity);
    }
}
