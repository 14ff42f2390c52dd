//! Who is counted for what, and what a client reads who has asked too much.
//! Follows `deploy/ratelimit/config.yaml` and the descriptors in `envoy/envoy.yaml`.

use http::{Method, Request, StatusCode};
use serde_json::json;
use tests::http::{Answer, Body, Version, bearer, empty, get, post, with};
use tokio::task::JoinSet;

use super::fleet::{ANN, BEN, Fleet, LIMIT, none, replace, send, turn};
use crate::stack::{CHAT, GUARDED, assert_error};

const CLIENTS: usize = 8;
const REQUESTS_EACH: usize = 6;

#[tokio::test]
async fn shared_limit_is_exact_across_envoys() {
    let fleet = Fleet::start_with(str::to_owned, |options| options.concurrency(2)).await;
    let mut clients = JoinSet::new();
    for index in 0..CLIENTS {
        let (_, envoy) = &fleet.edges[index % 2];
        let address = envoy.address();
        let version = [Version::H1, Version::H2][index / 2 % 2];
        clients.spawn(async move {
            let mut answers = Vec::new();
            for _ in 0..REQUESTS_EACH {
                answers.push(send(address, version, turn(ANN)).await);
            }
            answers
        });
    }
    let answers: Vec<_> = clients.join_all().await.into_iter().flatten().collect();
    let (accepted, refused): (Vec<_>, Vec<_>) = answers
        .into_iter()
        .partition(|answer| answer.status == StatusCode::OK);
    assert_eq!((accepted.len(), fleet.forwarded()), (LIMIT, LIMIT));
    for answer in refused {
        assert_error(&answer, 429, "rate_limit_error", "rate_limited");
    }
    let remaining = |answer: &Answer| answer.header("x-ratelimit-remaining").parse().unwrap();
    let mut remaining: Vec<usize> = accepted.iter().map(remaining).collect();
    remaining.sort_unstable();
    assert_eq!(remaining, (0..LIMIT).collect::<Vec<_>>());
    for answer in fleet.send(|| turn(BEN)).await {
        assert_eq!(answer.status, StatusCode::OK, "ben has a limit of his own");
    }
}

#[tokio::test]
async fn rejection_has_openai_shape_cors_headers_and_retry_after() {
    let fleet = Fleet::start_with(none, |options| options).await;
    for (upstream, envoy) in &fleet.edges {
        for version in [Version::H1, Version::H2] {
            let request = with(turn(ANN), "origin", "https://app.example");
            let request = with(request, "x-request-id", "the-clients-own");
            let answer = send(envoy.address(), version, request).await;
            let error = assert_error(&answer, 429, "rate_limit_error", "rate_limited");
            let wait: u64 = answer.header("retry-after").parse().unwrap();
            assert!((1..=24 * 60 * 60).contains(&wait), "{wait}");
            assert_eq!(
                error["message"],
                format!("Rate limit reached. Try again in {wait} s.")
            );
            assert_eq!(answer.header("x-request-id"), "the-clients-own");
            assert_eq!(
                answer.header("access-control-allow-origin"),
                "https://app.example"
            );
            assert!(!answer.headers.contains_key("x-envoy-ratelimited"));
        }
        let entry = envoy.access_log_entry(|entry| entry["status"] == 429).await;
        assert_eq!(
            (&entry["client"], &entry["details"]),
            (&json!("ann"), &json!("request_rate_limited"))
        );
        assert!(upstream.seen().is_empty());
    }
}

#[tokio::test]
async fn turn_requests_are_counted_under_the_client_id_from_the_filter() {
    let fleet = Fleet::start().await;
    for path in ["/v1/chat/completions", "/v1/completions", "/v1/responses"] {
        for end in ["", "/", "?query=1", "/?query=1"] {
            let body = json!({"model": "codex-5"}).to_string();
            let request = bearer(post(&format!("{path}{end}"), body), ANN);
            // The name of somebody else, which is not believed.
            let request = with(request, "x-codex-edge-client", "ben");
            let (_, envoy) = &fleet.edges[0];
            let answer = send(envoy.address(), Version::H1, request).await;
            assert_eq!(answer.status, StatusCode::OK, "{path}{end}");
        }
    }
    assert_eq!(fleet.service.asked(), vec!["route=generate client=ann"; 12]);
    for seen in fleet.edges[0].0.seen() {
        assert_eq!(seen.header("x-codex-edge-client"), "ann");
    }
}

#[tokio::test]
async fn rejected_requests_and_other_routes_are_not_counted() {
    let fleet = Fleet::start_with(none, |options| options).await;
    let asking = |model: &str| {
        let body = json!({"model": model, "messages": []});
        post(CHAT, body.to_string())
    };
    let chat = || asking("codex-5");
    let forged = || with(chat(), "x-codex-edge-client", "ann");
    let cases: [(&dyn Fn() -> Request<Body>, u16); 10] = [
        (&chat, 401),
        (&forged, 401),
        (&|| bearer(chat(), "no-such-key"), 401),
        (&|| bearer(asking("unheard-of"), ANN), 404),
        (&|| bearer(get("/v1/models"), ANN), 200),
        (&|| bearer(get(GUARDED), ANN), 200),
        (&|| bearer(get(CHAT), ANN), 200),
        (&|| bearer(empty(Method::HEAD, CHAT), ANN), 200),
        (&|| bearer(empty(Method::OPTIONS, CHAT), ANN), 204),
        (
            &|| bearer(empty(Method::POST, "/v1/responses/resp_1/cancel"), ANN),
            200,
        ),
    ];
    for (request, status) in cases {
        for answer in fleet.send(request).await {
            assert_eq!(answer.status.as_u16(), status, "{:?}", request());
        }
    }
    assert!(fleet.service.asked().is_empty());
}

#[tokio::test]
async fn large_body_is_forwarded_whole_after_the_rate_limit_check() {
    let fleet = Fleet::start().await;
    let body = json!({"model": "codex-5", "messages": ["x".repeat(1024 * 1024)]}).to_string();
    for answer in fleet.send(|| bearer(post(CHAT, body.clone()), ANN)).await {
        assert_eq!(answer.status, StatusCode::OK);
        assert_eq!(answer.json()["octets"], body.len());
    }
    assert_eq!(fleet.service.asked().len(), 2);
}

#[tokio::test]
async fn client_with_its_own_descriptor_has_its_own_limit() {
    let limits = |config: &str| {
        let config = replace(config, "#- {", "- {");
        replace(
            &config,
            "unit: minute, requests_per_unit: 600",
            "unit: day, requests_per_unit: 1",
        )
    };
    let fleet = Fleet::start_with(limits, |options| options).await;
    let statuses = async |key| {
        let answers = fleet.send(|| turn(key)).await;
        let statuses = answers.iter().map(|answer| answer.status.as_u16());
        statuses.collect::<Vec<_>>()
    };
    assert_eq!(statuses(ANN).await, [200, 429]);
    assert_eq!(statuses(BEN).await, [200, 200]);
}
