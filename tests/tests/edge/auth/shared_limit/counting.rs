//! The requests that the rate limit service counts, the client id of each, and the response above the limit.
//! Follows `deploy/ratelimit/config.yaml` and the descriptors in `envoy/envoy.yaml`.

use http::{Method, Request, StatusCode};
use serde_json::json;
use tests::http::{Body, BufferedResponse, Version, bearer, empty, get, post, with};
use tokio::task::JoinSet;

use super::fleet::{ANN, BEN, Fleet, LIMIT, replace, send, turn_request, zero_limit};
use crate::stack::{CHAT, GUARDED, assert_error, listed_models};

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
            let mut responses = Vec::new();
            for _ in 0..REQUESTS_EACH {
                responses.push(send(address, version, turn_request(ANN)).await);
            }
            responses
        });
    }
    let (accepted, rejected): (Vec<_>, Vec<_>) = clients
        .join_all()
        .await
        .into_iter()
        .flatten()
        .partition(|response| response.status == StatusCode::OK);
    assert_eq!((accepted.len(), fleet.forwarded()), (LIMIT, LIMIT));
    for response in rejected {
        assert_error(&response, 429, "rate_limit_error", "rate_limited");
    }
    let remaining =
        |response: &BufferedResponse| response.header("x-ratelimit-remaining").parse().unwrap();
    let mut remaining: Vec<usize> = accepted.iter().map(remaining).collect();
    remaining.sort_unstable();
    assert_eq!(remaining, (0..LIMIT).collect::<Vec<_>>());
    for response in fleet.send(|| turn_request(BEN)).await {
        assert_eq!(
            response.status,
            StatusCode::OK,
            "the client `ben` has a separate bucket"
        );
    }
}

#[tokio::test]
async fn messages_are_counted_and_rejected_in_the_shape_of_their_api() {
    let fleet = Fleet::start_with(zero_limit, |options| options).await;
    for path in ["/v1/messages", "/v1/messages/count_tokens?beta=true"] {
        let body = json!({"model": "codex-5", "messages": []}).to_string();
        let request = || with(post(path, body.clone()), "x-api-key", ANN);
        for response in fleet.send(request).await {
            crate::messages::assert_error(&response, 429, "rate_limit_error", "rate_limited");
            let wait: u64 = response.header("retry-after").parse().unwrap();
            assert!((1..=24 * 60 * 60).contains(&wait), "{wait}");
        }
    }
}

#[tokio::test]
async fn rejection_has_openai_shape_cors_headers_and_retry_after() {
    let fleet = Fleet::start_with(zero_limit, |options| options).await;
    for (upstream, envoy) in &fleet.edges {
        for version in [Version::H1, Version::H2] {
            let request = with(
                with(turn_request(ANN), "origin", "https://app.example"),
                "x-request-id",
                "the-clients-own",
            );
            let response = send(envoy.address(), version, request).await;
            let error = assert_error(&response, 429, "rate_limit_error", "rate_limited");
            let wait: u64 = response.header("retry-after").parse().unwrap();
            assert!((1..=24 * 60 * 60).contains(&wait), "{wait}");
            assert_eq!(
                error["message"],
                format!("Rate limit reached. Try again in {wait} s.")
            );
            assert_eq!(response.header("x-request-id"), "the-clients-own");
            assert_eq!(
                response.header("access-control-allow-origin"),
                "https://app.example"
            );
            assert!(!response.headers.contains_key("x-envoy-ratelimited"));
        }
        let entry = envoy.access_log_entry(|entry| entry["status"] == 429).await;
        assert_eq!(
            (&entry["client"], &entry["details"]),
            (&json!("ann"), &json!("request_rate_limited"))
        );
        assert!(upstream.requests().is_empty());
    }
}

#[tokio::test]
async fn turn_requests_are_counted_under_the_client_id_from_the_filter() {
    let fleet = Fleet::start().await;
    for path in ["/v1/chat/completions", "/v1/completions", "/v1/responses"] {
        for end in ["", "/", "?query=1", "/?query=1"] {
            let body = json!({"model": "codex-5"}).to_string();
            // The filter replaces the forged client id, so the request counts for `ann`.
            let request = with(
                bearer(post(&format!("{path}{end}"), body), ANN),
                "x-codex-edge-client",
                "ben",
            );
            let (_, envoy) = &fleet.edges[0];
            let response = send(envoy.address(), Version::H1, request).await;
            assert_eq!(response.status, StatusCode::OK, "{path}{end}");
        }
    }
    assert_eq!(
        fleet.service.descriptors(),
        vec!["route=generate client=ann"; 12]
    );
    for received in fleet.edges[0].0.requests() {
        assert_eq!(received.header("x-codex-edge-client"), "ann");
    }
}

#[tokio::test]
async fn rejected_requests_and_other_routes_are_not_counted() {
    let fleet = Fleet::start_with(zero_limit, listed_models).await;
    let chat_with = |model: &str| {
        let body = json!({"model": model, "messages": []});
        post(CHAT, body.to_string())
    };
    let chat = || chat_with("codex-5");
    let forged = || with(chat(), "x-codex-edge-client", "ann");
    let cases: [(&dyn Fn() -> Request<Body>, u16); 10] = [
        (&chat, 401),
        (&forged, 401),
        (&|| bearer(chat(), "no-such-key"), 401),
        (&|| bearer(chat_with("unheard-of"), ANN), 404),
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
        for response in fleet.send(request).await {
            assert_eq!(response.status.as_u16(), status, "{:?}", request());
        }
    }
    assert!(fleet.service.descriptors().is_empty());
}

#[tokio::test]
async fn large_body_is_forwarded_whole_after_the_rate_limit_check() {
    let fleet = Fleet::start().await;
    let body = json!({"model": "codex-5", "messages": ["x".repeat(1024 * 1024)]}).to_string();
    for response in fleet.send(|| bearer(post(CHAT, body.clone()), ANN)).await {
        assert_eq!(response.status, StatusCode::OK);
        assert_eq!(response.json()["octets"], body.len());
    }
    assert_eq!(fleet.service.descriptors().len(), 2);
}

#[tokio::test]
async fn client_with_its_own_descriptor_has_its_own_limit() {
    let limits = |config: &str| {
        // The shipped file has a limit for one client, commented out.
        replace(
            &replace(config, "#- {", "- {"),
            "unit: minute, requests_per_unit: 600",
            "unit: day, requests_per_unit: 1",
        )
    };
    let fleet = Fleet::start_with(limits, |options| options).await;
    let statuses = async |key| {
        let responses = fleet.send(|| turn_request(key)).await;
        responses
            .iter()
            .map(|response| response.status.as_u16())
            .collect::<Vec<_>>()
    };
    assert_eq!(statuses(ANN).await, [200, 429]);
    assert_eq!(statuses(BEN).await, [200, 200]);
}
