//! Restarts of Envoy and the sidecar in any order: requests meanwhile wait in Envoy and are not lost.
//! The retry policy is in `envoy/envoy.yaml`. No turn may run twice.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use tests::envoy::Envoy;
use tests::http::{Version, get};
use tests::sse::Events;
use tokio::time::Instant;

use crate::clients::traffic::{CLIENTS, Traffic, TrafficRequest};
use crate::stack::{Chain, envoy_before, streamed_chat};

/// The shortest time that Envoy holds a request before the 503, given ten seconds on average and random backoff.
const MIN_RETRY_TIME: Duration = Duration::from_secs(5);

/// Attempts of an SDK with default options: one, and two retries.
const SDK_ATTEMPTS: usize = 3;

/// Asserts that the chain completes a new request, which Envoy may hold for a while.
async fn assert_responds(chain: &Chain) {
    let mut client = chain.connect(Version::H1).await;
    let response = client.stream(streamed_chat(&json!({"text": "Hi."}))).await;
    let mut events = Events::new(response.expect("a response arrives"));
    let rest = events
        .rest()
        .await
        .expect("the stream ends without a transport error");
    assert_eq!(rest.last().map(String::as_str), Some("data: [DONE]"));
}

/// Asserts that without a sidecar a chat gets a retryable 503, and a readiness probe gets its 503 at once.
async fn assert_unavailable(chain: &Chain) {
    let mut client = chain.connect(Version::H2).await;
    let sent = Instant::now();
    let probe = client
        .send(get("/readyz"))
        .await
        .expect("a response arrives");
    assert_eq!(probe.status, 503);
    assert!(
        sent.elapsed() < MIN_RETRY_TIME,
        "Envoy does not hold a probe"
    );
    let chat = client.send(streamed_chat(&json!({"text": "Hi."})));
    let rejected = chat.await.expect("a response arrives");
    assert_eq!(rejected.status, 503, "{rejected:?}");
    assert_eq!(rejected.json()["error"]["code"], "codex_unavailable");
    assert_eq!(rejected.header("retry-after"), "1");
}

#[tokio::test]
async fn chain_recovers_in_any_start_order() {
    let mut chain = Chain::start().await;
    chain.sidecar.signal(Signal::SIGTERM);
    assert_eq!(chain.sidecar.wait().await, Some(0));
    chain.envoy = Envoy::start(envoy_before(&chain.sidecar)).await;
    assert_unavailable(&chain).await;
    chain.sidecar.restart();
    assert_responds(&chain).await;

    let successor = Envoy::start(envoy_before(&chain.sidecar)).await;
    std::mem::replace(&mut chain.envoy, successor).stop().await;
    assert_responds(&chain).await;

    chain.sidecar.signal(Signal::SIGKILL);
    assert_eq!(chain.sidecar.wait().await, None);
    assert!(
        chain.sidecar.socket().exists(),
        "a killed sidecar leaves its socket"
    );
    assert_unavailable(&chain).await;
    chain.sidecar.restart();
    assert_responds(&chain).await;
}

/// Asserts that each request has got its text from exactly one turn, and that Envoy held it before each 503.
fn assert_none_lost(chain: &Chain, requests: &[TrafficRequest]) {
    for request in requests {
        assert_eq!(request.outcome.as_ref(), Ok(&request.canary), "{request:?}");
        assert_eq!(request.turns(&chain.model), 1, "{request:?}");
        let was_held = |time: &Duration| *time >= MIN_RETRY_TIME;
        assert!(request.rejected_after.iter().all(was_held), "{request:?}");
    }
}

#[tokio::test]
async fn upgrade_loses_no_request() {
    let mut chain =
        Chain::start_with_sidecar(|options| options.env("PROXY_SSE_MAX_CONCURRENCY", "16")).await;
    let traffic = Traffic::start(chain.envoy.address(), SDK_ATTEMPTS);
    for round in ["one", "two", "three"] {
        traffic.flow(20).await;
        let script = json!([{"text": "par", "open": true}, {"hold": round}, {"text": "ty"}]);
        let mut client = chain.connect(Version::H2).await;
        let mut stream = Events::new(client.stream(streamed_chat(&script)).await.unwrap());
        stream.next_json().await;
        stream.next_json().await;
        let predecessor = chain.sidecar.upgrade().await;
        traffic.flow(20).await;
        chain.model.release(round);
        let rest = stream
            .rest()
            .await
            .expect("the predecessor completes the stream");
        assert_eq!(rest.last().unwrap(), "data: [DONE]", "{rest:?}");
        assert_eq!(predecessor.wait().await, Some(0), "{}", chain.sidecar.log());
    }
    assert_none_lost(&chain, &traffic.stop().await);
    assert!(chain.envoy.stat("cluster.sidecar.upstream_rq_retry").await > 0);
}

#[tokio::test]
async fn restart_loses_no_request() {
    let mut chain = Chain::start().await;
    let traffic = Traffic::start(chain.envoy.address(), SDK_ATTEMPTS);
    traffic.flow(20).await;
    chain.sidecar.signal(Signal::SIGTERM);
    let code = chain.sidecar.wait().await;
    assert_eq!(code, Some(0), "{}", chain.sidecar.log());
    chain.sidecar.restart();
    traffic.flow(20).await;
    assert_none_lost(&chain, &traffic.stop().await);
}

#[tokio::test]
async fn killed_sidecar_loses_only_requests_in_progress() {
    let mut chain = Chain::start().await;
    let traffic = Traffic::start(chain.envoy.address(), 1);
    traffic.flow(20).await;
    chain.sidecar.signal(Signal::SIGKILL);
    assert_eq!(chain.sidecar.wait().await, None);
    chain.sidecar.restart();
    traffic.flow(20).await;
    let requests = traffic.stop().await;
    for request in &requests {
        assert!(request.turns(&chain.model) <= 1, "{request:?}");
    }
    let was_held = |request: &TrafficRequest| {
        request
            .rejected_after
            .iter()
            .any(|time| *time >= MIN_RETRY_TIME)
    };
    let lost: Vec<_> = requests
        .iter()
        .filter(|request| request.outcome.is_err() && !was_held(request))
        .collect();
    assert!(
        lost.len() <= CLIENTS,
        "at most one request of each client is lost: {lost:?}"
    );
}
