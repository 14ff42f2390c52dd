//! Behaviour while the rate limit service is unreachable, unresponsive, disabled or not configured.
//! Follows `failure_mode_deny`, `timeout` and `filter_enabled` in `envoy/envoy.yaml`.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tests::envoy::EnvoyOptions;
use tests::http::Version;
use tests::upstream::Behavior;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::fleet::{ANN, Fleet, LIMIT, overlaid, send, turn_request, zero_limit};
use crate::stack::{assert_error, chat, start, start_with};

/// The counter of requests that Envoy forwarded without a response from the rate limit service.
const FAILED_OPEN: &str = "cluster.sidecar.ratelimit.failure_mode_allowed";

#[tokio::test]
async fn unreachable_service_fails_open_to_the_filters_own_limit() {
    let limit = json!({"enabled": true, "requests": 3, "window_ms": 24 * 60 * 60 * 1000});
    let change = |options: EnvoyOptions| options.filter("rate_limit", limit.clone());
    let fleet = Fleet::start_with(str::to_owned, change).await;
    for (counted, response) in fleet.send(|| turn_request(ANN)).await.iter().enumerate() {
        let remaining = (LIMIT - counted - 1).to_string();
        assert_eq!(response.header("x-ratelimit-remaining"), remaining);
    }
    let Fleet { service, edges } = fleet;
    service.stop().await;
    for (upstream, envoy) in &edges {
        for remaining in ["1", "0"] {
            let response = send(envoy.address(), Version::H1, turn_request(ANN)).await;
            assert_eq!(response.status, StatusCode::OK);
            assert_eq!(response.header("x-ratelimit-remaining"), "");
            assert_eq!(response.header("x-ratelimit-remaining-requests"), remaining);
        }
        let response = send(envoy.address(), Version::H1, turn_request(ANN)).await;
        assert_error(&response, 429, "rate_limit_error", "rate_limited");
        assert!(
            !response.header("retry-after-ms").is_empty(),
            "only the filter sets `retry-after-ms`"
        );
        assert_eq!(upstream.requests().len(), 3);
        assert_eq!(envoy.stat(FAILED_OPEN).await, 2);
    }
}

#[tokio::test]
async fn unreachable_service_with_failure_mode_deny_rejects_requests() {
    let change = |options: EnvoyOptions| {
        options.replace("failure_mode_deny: false", "failure_mode_deny: true")
    };
    let Fleet { service, edges } = Fleet::start_with(str::to_owned, change).await;
    service.stop().await;
    for (upstream, envoy) in &edges {
        let response = send(envoy.address(), Version::H1, turn_request(ANN)).await;
        assert_error(&response, 500, "server_error", "internal_error");
        assert!(upstream.requests().is_empty());
    }
}

/// Longest accepted delay. Well above the service's timeout of 0.25 s, for a busy machine, and well below the 11 s
/// after which Envoy gives up the connection.
const MAX_DELAY: Duration = Duration::from_secs(5);

#[tokio::test]
async fn unresponsive_service_delays_a_request_only_by_its_timeout() {
    let unresponsive = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = unresponsive.local_addr().unwrap();
    let (upstream, envoy) = start_with(Behavior::Echo, |options| overlaid(options, address)).await;
    let response = timeout(
        MAX_DELAY,
        send(envoy.address(), Version::H1, turn_request(ANN)),
    )
    .await;
    assert_eq!(
        response.expect("a response after 0.25 s").status,
        StatusCode::OK
    );
    assert_eq!(upstream.requests().len(), 1);
    assert_eq!(envoy.stat(FAILED_OPEN).await, 1);
}

#[tokio::test]
async fn runtime_key_disables_and_enables_the_limit() {
    let fleet = Fleet::start_with(zero_limit, |options| options).await;
    let (_, envoy) = &fleet.edges[0];
    for (percent, status) in [("0", 200), ("100", 429)] {
        let path = format!("/runtime_modify?codex_edge.shared_limit={percent}");
        assert_eq!(envoy.admin_post(&path).await.status, StatusCode::OK);
        let response = send(envoy.address(), Version::H1, turn_request(ANN)).await;
        assert_eq!(response.status.as_u16(), status, "{percent}");
    }
}

#[tokio::test]
async fn without_the_overlay_no_rate_limit_service_is_called() {
    let (_upstream, envoy) = start().await;
    let response = send(envoy.address(), Version::H1, chat()).await;
    assert_eq!(response.status, StatusCode::OK);
    let body = envoy.admin("/stats").await.body;
    let stats = String::from_utf8_lossy(&body);
    assert!(!stats.contains(FAILED_OPEN), "{stats}");
}
