//! API keys in the filter's configuration: authentication, the identity headers for the upstream, models and rates.
//! Follows the `keys` field of the filter's configuration; bearer tokens follow RFC 6750, section 2.1.

use std::process::Command;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::{HeaderValue, Method, Request};
use serde_json::{Value, json};
use tests::envoy::EnvoyOptions;
use tests::http::{Body, DEADLINE, Version, bearer, empty, get, post, with};
use tests::upstream::Behavior;
use tokio::time::{sleep, timeout};

use crate::stack::{CHAT, Edges, GUARDED, MakeRequest, start_with};

/// The output of `printf %s sk-alice | sha256sum`.
const ALICES_HASH: &str = "099295a3784e1bd368dc348843a7398c1931b6b8ec2504c73e91ed2040bdc46c";

/// Configures a key of each kind; the token of a key is `sk-` and the key's id.
fn keys(options: EnvoyOptions) -> EnvoyOptions {
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
    let edges = Edges::start(Behavior::Echo, keys).await;
    for (key, expected) in [
        ("sk-alice", "200"),
        ("sk-bob", "200"),
        ("sk-carol", "200"),
        ("sk-frank", "200"),
        ("sk-dave", "401 invalid_api_key"),
        ("sk-erin", "401 invalid_api_key"),
        ("sk-unknown", "401 invalid_api_key"),
        ("alice", "401 invalid_api_key"),
        (ALICES_HASH, "401 invalid_api_key"),
    ] {
        edges.check(|| bearer(get(GUARDED), key), expected).await;
    }
    assert_eq!(edges.requests().len(), 4 * 4);
}

#[tokio::test]
async fn only_one_well_formed_bearer_credential_is_accepted() {
    let edges = Edges::start(Behavior::Echo, keys).await;
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
    for first in ["sk-alice", "sk-unknown"] {
        let two_credentials = || bearer(bearer(get(GUARDED), first), "sk-alice");
        edges.check(two_credentials, "401 invalid_api_key").await;
    }
}

#[tokio::test]
async fn only_public_routes_are_served_without_a_key() {
    let edges = Edges::start(Behavior::Echo, keys).await;
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
    let edges = Edges::start(Behavior::Echo, protect).await;
    for path in ["/v1/models", "/v1/models/codex-5"] {
        edges.check(|| get(path), "401 invalid_api_key").await;
        edges.check(|| bearer(get(path), "sk-alice"), "200").await;
    }
}

#[tokio::test]
async fn upstream_receives_the_identity_of_the_key_and_no_forged_header() {
    let edges = Edges::start(Behavior::Echo, keys).await;
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
        let before = edges.requests().len();
        edges.check(|| forged(request()), "200").await;
        assert_eq!(edges.requests().len(), before + 4);
        for (upstream, _) in edges.each() {
            for received in upstream.requests().iter().rev().take(2) {
                let identity: Value = received
                    .head
                    .headers
                    .iter()
                    .filter(|(name, _)| name.as_str().starts_with("x-codex-edge-"))
                    .map(|(name, value)| (name.to_string(), Value::from(value.to_str().unwrap())))
                    .collect();
                assert_eq!(identity, expected);
                assert_eq!(received.header("authorization"), "");
            }
        }
    }
}

#[tokio::test]
async fn rate_limit_applies_per_key_and_is_reported_in_headers() {
    for version in [Version::H1, Version::H2] {
        let (_upstream, envoy) = start_with(Behavior::Echo, keys).await;
        let send = async |request| envoy.connect(version).await.send(request).await.unwrap();
        for (status, remaining) in [(200, "1"), (200, "0"), (429, "0"), (429, "0")] {
            // A request that does not start a turn takes no token from the bucket.
            let response = send(bearer(get("/v1/responses/resp_1"), "sk-carol")).await;
            assert_eq!(
                (
                    response.status.as_u16(),
                    response.header("x-ratelimit-limit-requests")
                ),
                (200, "")
            );
            let response = send(chat("sk-carol")).await;
            assert_eq!(response.status.as_u16(), status);
            assert_eq!(response.header("x-ratelimit-limit-requests"), "2");
            assert_eq!(response.header("x-ratelimit-remaining-requests"), remaining);
            assert!(response.header("x-ratelimit-reset-requests").ends_with('s'));
            let waits = ["retry-after", "retry-after-ms"].map(|name| response.header(name));
            assert_eq!(waits.map(str::is_empty), [status == 200; 2]);
            if status == 429 {
                let [seconds, millis] = waits.map(|wait| wait.parse::<u64>().unwrap());
                assert!((43_100..=43_200).contains(&seconds) && millis.div_ceil(1000) == seconds);
            }
        }
        let response = send(chat("sk-alice")).await;
        let headers = [
            "x-ratelimit-limit-requests",
            "x-ratelimit-remaining-requests",
        ];
        assert_eq!(
            (
                response.status.as_u16(),
                headers.map(|name| response.header(name))
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
    let expires_at = String::from_utf8(date.expect("`date` is installed").stdout).unwrap();
    let keys = json!([
        {"id": "brief", "key": "sk-brief", "expires_at": expires_at.trim()},
        {"id": "other", "key": "sk-other"},
    ]);
    let (_upstream, envoy) =
        start_with(Behavior::Echo, |options| options.filter("keys", keys)).await;
    let status = async |key| {
        let mut client = envoy.connect(Version::H1).await;
        let response = client.send(bearer(get(GUARDED), key)).await;
        response.unwrap().status
    };
    assert_eq!(status("sk-brief").await, 200);
    let expired = async {
        while status("sk-brief").await == 200 {
            sleep(Duration::from_millis(50)).await;
        }
    };
    timeout(DEADLINE, expired).await.expect("the key expires");
    assert_eq!(
        (
            status("sk-brief").await.as_u16(),
            status("sk-other").await.as_u16()
        ),
        (401, 200)
    );
}
