//! What holds while the service is away, and while nobody is to ask it.
//! Follows `failure_mode_deny`, `timeout` and `filter_enabled` in `envoy/envoy.yaml`.

use std::time::Duration;

use http::StatusCode;
use serde_json::json;
use tests::envoy::Options;
use tests::http::Version;
use tests::upstream::Script;
use tokio::net::TcpListener;
use tokio::time::timeout;

use super::fleet::{ANN, Fleet, LIMIT, none, overlaid, send, turn};
use crate::stack::{assert_error, chat, start, start_with};

/// What an operator watches: requests that passed because the service did not answer.
const PASSED_UNCOUNTED: &str = "cluster.sidecar.ratelimit.failure_mode_allowed";

#[tokio::test]
async fn unreachable_service_fails_open_to_the_filters_own_limit() {
    let limit = json!({"enabled": true, "requests": 3, "window_ms": 24 * 60 * 60 * 1000});
    let change = |options: Options| options.filter("rate_limit", limit.clone());
    let fleet = Fleet::start_with(str::to_owned, change).await;
    for (counted, answer) in fleet.send(|| turn(ANN)).await.iter().enumerate() {
        let remaining = (LIMIT - counted - 1).to_string();
        assert_eq!(answer.header("x-ratelimit-remaining"), remaining);
    }
    let Fleet { service, edges } = fleet;
    service.stop().await;
    for (upstream, envoy) in &edges {
        for remaining in ["1", "0"] {
            let answer = send(envoy.address(), Version::H1, turn(ANN)).await;
            assert_eq!(answer.status, StatusCode::OK);
            assert_eq!(answer.header("x-ratelimit-remaining"), "");
            assert_eq!(answer.header("x-ratelimit-remaining-requests"), remaining);
        }
        let answer = send(envoy.address(), Version::H1, turn(ANN)).await;
        assert_error(&answer, 429, "rate_limit_error", "rate_limited");
        assert!(!answer.header("retry-after-ms").is_empty(), "the filter's");
        assert_eq!(upstream.seen().len(), 3);
        assert_eq!(envoy.stat(PASSED_UNCOUNTED).await, 2);
    }
}

#[tokio::test]
async fn unreachable_service_with_failure_mode_deny_rejects_requests() {
    let change =
        |options: Options| options.replace("failure_mode_deny: false", "failure_mode_deny: true");
    let Fleet { service, edges } = Fleet::start_with(str::to_owned, change).await;
    service.stop().await;
    for (upstream, envoy) in &edges {
        let answer = send(envoy.address(), Version::H1, turn(ANN)).await;
        assert_error(&answer, 500, "server_error", "internal_error");
        assert!(upstream.seen().is_empty());
    }
}

/// Well above 0.25 s on a busy machine, and well below the 11 s after which Envoy gives up the connection.
const A_MOMENT: Duration = Duration::from_secs(5);

#[tokio::test]
async fn unresponsive_service_delays_a_request_only_by_its_timeout() {
    let hanging = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = hanging.local_addr().unwrap();
    let (upstream, envoy) = start_with(Script::Echo, |options| overlaid(options, address)).await;
    let answer = timeout(A_MOMENT, send(envoy.address(), Version::H1, turn(ANN))).await;
    assert_eq!(answer.expect("0.25 s later").status, StatusCode::OK);
    assert_eq!(upstream.seen().len(), 1);
    assert_eq!(envoy.stat(PASSED_UNCOUNTED).await, 1);
}

#[tokio::test]
async fn runtime_key_disables_and_enables_the_limit() {
    let fleet = Fleet::start_with(none, |options| options).await;
    let (_, envoy) = &fleet.edges[0];
    for (percent, status) in [("0", 200), ("100", 429)] {
        let path = format!("/runtime_modify?codex_edge.shared_limit={percent}");
        assert_eq!(envoy.admin_post(&path).await.status, StatusCode::OK);
        let answer = send(envoy.address(), Version::H1, turn(ANN)).await;
        assert_eq!(answer.status.as_u16(), status, "{percent}");
    }
}

#[tokio::test]
async fn without_the_overlay_no_rate_limit_service_is_called() {
    let (_upstream, envoy) = start().await;
    let answer = send(envoy.address(), Version::H1, chat()).await;
    assert_eq!(answer.status, StatusCode::OK);
    let stats = envoy.admin("/stats").await.body;
    let stats = String::from_utf8_lossy(&stats).into_owned();
    assert!(!stats.contains(PASSED_UNCOUNTED), "{stats}");
}
