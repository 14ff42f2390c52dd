//! Keys as an operator writes them: who passes, who the upstream is told is calling, and what each may ask how often.
//! Follows the `keys` of the filter's configuration; tokens are RFC 6750's, section 2.1.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderValue, Method, Request};
use serde_json::{Value, json};
use tests::envoy::Options;
use tests::http::{Body, DEADLINE, Version, bearer, empty, get, post, with};
use tests::upstream::Script;
use tokio::time::{sleep, timeout};

use crate::stack::{CHAT, Edges, GUARDED, MakeRequest, start_with};

/// `printf %s sk-alice | sha256sum`.
const ALICES_HASH: &str = "099295a3784e1bd368dc348843a7398c1931b6b8ec2504c73e91ed2040bdc46c";

/// One key of each kind; the token of each is its id behind `sk-`.
fn keys(options: Options) -> Options {
    let keys = json!([
        {"id": "alice", "sha256": ALICES_HASH},
        {"id": "bob", "key": "sk-bob", "models": ["codex-5*", "gpt-5"], "profile": "agent", "admin": true},
        {"id": "carol", "key": "sk-carol", "rate_limit": {"requests": 2, "window_ms": 86_400_000}},
        {"id": "dave", "key": "sk-dave", "disabled": true},
        {"id": "erin", "key": "sk-erin", "expires_at": "2020-02-29T00:00:00Z"},
        {"id": "frank", "key": "sk-frank", "expires_at": "2999-12-31T23:59:59+01:00"},
    ]);
    let limit = json!({"requests": 1000, "window_ms": 86_400_000});
    options.filter("keys", keys).filter("rate_limit", limit)
}

fn chat(key: &str) -> Request<Body> {
    bearer(post(CHAT, r#"{"model":"codex-5","messages":[]}"#), key)
}

#[tokio::test]
async fn only_enabled_and_unexpired_keys_are_accepted() {
    let edges = Edges::start(Script::Echo, keys).await;
    for (key, expected) in [
        ("sk-alice", "200"),
        ("sk-bob", "200"),
        ("sk-carol", "200"),
        ("sk-frank", "200"),
        ("sk-dave", "401 invalid_api_key"),
        ("sk-erin", "401 invalid_api_key"),
        ("sk-nobody", "401 invalid_api_key"),
        ("alice", "401 invalid_api_key"),
        (ALICES_HASH, "401 invalid_api_key"),
    ] {
        edges.check(|| bearer(get(GUARDED), key), expected).await;
    }
    assert_eq!(edges.seen().len(), 4 * 4);
}

#[tokio::test]
async fn only_one_well_formed_bearer_credential_is_accepted() {
    let edges = Edges::start(Script::Echo, keys).await;
    let values: [(&[u8], &str); 12] = [
        (b"bearer sk-alice", "200"),
        (b"BEARER  sk-alice", "200"),
        (b"sk-alice", "401 invalid_api_key"),
        (b"Bearer", "401 invalid_api_key"),
        (b"Bearersk-alice", "401 invalid_api_key"),
        (b"Bearer sk-Alice", "401 invalid_api_key"),
        (b"Bearer sk-alice,sk-bob", "401 invalid_api_key"),
        (b"Bearer sk-alice, Bearer sk-alice", "401 invalid_api_key"),
        (b"Basic c2stYWxpY2U=", "401 invalid_api_key"),
        (b"Token sk-alice", "401 invalid_api_key"),
        (b"Bearer sk-alice\xff", "401 invalid_api_key"),
        (b"\xff\xfe\xfd", "401 invalid_api_key"),
    ];
    for (value, expected) in values {
        let request = || {
            let mut request = get(GUARDED);
            let value = HeaderValue::from_bytes(value).unwrap();
            request.headers_mut().insert("authorization", value);
            request
        };
        edges.check(request, expected).await;
    }
    let twice = || bearer(bearer(get(GUARDED), "sk-alice"), "sk-alice");
    edges.check(twice, "401 invalid_api_key").await;
    let twice = || bearer(bearer(get(GUARDED), "sk-nobody"), "sk-alice");
    edges.check(twice, "401 invalid_api_key").await;
}

#[tokio::test]
async fn only_public_routes_are_served_without_a_key() {
    let edges = Edges::start(Script::Echo, keys).await;
    let cases = [
        (Method::GET, "/healthz", "200"),
        (Method::HEAD, "/livez", "200"),
        (Method::GET, "/readyz/", "200"),
        (Method::GET, "/v1/models", "200"),
        (Method::GET, "/v1/models/codex-5?x", "200"),
        (Method::HEAD, CHAT, "200"),
        (Method::HEAD, "/v1/responses", "200"),
        (Method::OPTIONS, GUARDED, "204"),
        (Method::POST, "/healthz", "401 invalid_api_key"),
        (Method::POST, CHAT, "401 invalid_api_key"),
        (Method::POST, "/v1/chat/completions/", "401 invalid_api_key"),
        (Method::POST, "/v1/responses", "401 invalid_api_key"),
        (
            Method::DELETE,
            "/v1/responses/resp_1",
            "401 invalid_api_key",
        ),
        (Method::GET, "/v1/usage/raw", "401 invalid_api_key"),
        (Method::GET, "/v1/models/a/b", "401 invalid_api_key"),
        (Method::GET, "/HEALTHZ", "401 invalid_api_key"),
        (Method::GET, "/", "401 invalid_api_key"),
    ];
    for (method, path, expected) in &cases {
        edges.check(|| empty(method.clone(), path), expected).await;
    }
    let protect = |options| keys(options).filter("protect_models", json!(true));
    let edges = Edges::start(Script::Echo, protect).await;
    for path in ["/v1/models", "/v1/models/codex-5"] {
        edges.check(|| get(path), "401 invalid_api_key").await;
        edges.check(|| bearer(get(path), "sk-alice"), "200").await;
    }
}

#[tokio::test]
async fn upstream_receives_the_identity_of_the_key_and_no_forged_header() {
    let edges = Edges::start(Script::Echo, keys).await;
    let forged = |request| {
        let names = [
            "x-codex-edge-client",
            "x-codex-edge-profile",
            "x-codex-edge-admin",
            "x-codex-edge-models",
            "x-codex-edge-new",
        ];
        names
            .into_iter()
            .fold(request, |request, name| with(request, name, "forged"))
    };
    let (alice, bob) = (
        json!({"x-codex-edge-client": "alice"}),
        json!({
            "x-codex-edge-client": "bob",
            "x-codex-edge-profile": "agent",
            "x-codex-edge-admin": "true",
            "x-codex-edge-models": "codex-5*,gpt-5",
        }),
    );
    let cases: [(MakeRequest, Value); 5] = [
        (&|| bearer(get(GUARDED), "sk-alice"), alice.clone()),
        (&|| chat("sk-alice"), alice.clone()),
        (&|| bearer(get("/healthz"), "sk-alice"), alice),
        (&|| chat("sk-bob"), bob),
        (&|| get("/healthz"), json!({})),
    ];
    for (request, expected) in cases {
        let before = edges.seen().len();
        edges.check(|| forged(request()), "200").await;
        assert_eq!(edges.seen().len(), before + 4);
        for (upstream, _) in edges.each() {
            for seen in upstream.seen().iter().rev().take(2) {
                let fields = seen.head.headers.iter();
                let told: Value = fields
                    .filter(|(name, _)| name.as_str().starts_with("x-codex-edge-"))
                    .map(|(name, value)| (name.to_string(), Value::from(value.to_str().unwrap())))
                    .collect();
                assert_eq!(told, expected);
                assert_eq!(seen.header("authorization"), "");
            }
        }
    }
}

#[tokio::test]
async fn rate_limit_applies_per_key_and_is_reported_in_headers() {
    for version in [Version::H1, Version::H2] {
        let (_upstream, envoy) = start_with(Script::Echo, keys).await;
        let send = async |request| envoy.connect(version).await.send(request).await.unwrap();
        for (status, remaining) in [(200, "1"), (200, "0"), (429, "0"), (429, "0")] {
            // What starts no turn is not charged.
            let answer = send(bearer(get(GUARDED), "sk-carol")).await;
            assert_eq!(
                (
                    answer.status.as_u16(),
                    answer.header("x-ratelimit-limit-requests")
                ),
                (200, "")
            );
            let answer = send(chat("sk-carol")).await;
            assert_eq!(answer.status.as_u16(), status);
            assert_eq!(answer.header("x-ratelimit-limit-requests"), "2");
            assert_eq!(answer.header("x-ratelimit-remaining-requests"), remaining);
            assert!(answer.header("x-ratelimit-reset-requests").ends_with('s'));
            let waits = ["retry-after", "retry-after-ms"].map(|name| answer.header(name));
            assert_eq!(waits.map(str::is_empty), [status == 200; 2]);
            if status == 429 {
                let [seconds, millis] = waits.map(|wait| wait.parse::<u64>().unwrap());
                assert!((43_100..=43_200).contains(&seconds) && millis.div_ceil(1000) == seconds);
            }
        }
        let answer = send(chat("sk-alice")).await;
        let fields = [
            "x-ratelimit-limit-requests",
            "x-ratelimit-remaining-requests",
        ];
        assert_eq!(
            (
                answer.status.as_u16(),
                fields.map(|name| answer.header(name))
            ),
            (200, ["1000", "999"])
        );
    }
}

#[tokio::test]
async fn expired_key_is_rejected_without_a_reload() {
    let end = SystemTime::now() + Duration::from_secs(8);
    let seconds = end.duration_since(UNIX_EPOCH).unwrap().as_secs();
    let date = Command::new("date")
        .args(["-u", "-d", &format!("@{seconds}"), "+%FT%TZ"])
        .output();
    let end = String::from_utf8(date.expect("date is there").stdout).unwrap();
    let keys = json!([{"id": "brief", "key": "sk-brief", "expires_at": end.trim()}, {"id": "other", "key": "sk-other"}]);
    let (_upstream, envoy) = start_with(Script::Echo, |options| options.filter("keys", keys)).await;
    let status = async |key| {
        let answer = envoy
            .connect(Version::H1)
            .await
            .send(bearer(get(GUARDED), key))
            .await;
        answer.unwrap().status
    };
    assert_eq!(status("sk-brief").await, 200);
    let ended = async {
        while status("sk-brief").await == 200 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(DEADLINE, ended).await.expect("the key runs out");
    assert_eq!(
        (
            status("sk-brief").await.as_u16(),
            status("sk-other").await.as_u16()
        ),
        (401, 200)
    );
}
