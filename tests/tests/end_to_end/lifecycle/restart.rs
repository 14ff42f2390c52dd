//! Envoy and sidecar come and go in any order, and who asks meanwhile waits instead of being lost.
//! The retry policy of `envoy/envoy.yaml`; a turn never runs twice.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::json;
use tests::envoy::Envoy;
use tests::http::{Version, get};
use tests::sse::Events;
use tokio::time::Instant;

use crate::clients::traffic::{Asked, CLIENTS, Traffic};
use crate::stack::{Stack, envoy_before, streamed_chat};

/// A client is turned away after this time of waiting at the earliest; ten seconds are the mean.
const PATIENCE: Duration = Duration::from_secs(5);

/// Tries of an SDK as it comes: one, and two more.
const TRIES: usize = 3;

/// Asserts that the chain answers a client that comes now; Envoy may have it wait, and no more.
async fn assert_answers(stack: &Stack) {
    let mut client = stack.connect(Version::H1).await;
    let answer = client.stream(streamed_chat(&json!({"text": "Hi."}))).await;
    let mut events = Events::new(answer.expect("an answer"));
    let rest = events.rest().await.expect("the stream ends well");
    assert_eq!(rest.last().map(String::as_str), Some("data: [DONE]"));
}

/// Asserts that a client is told when to come again, and who asks whether all is well is told at once.
async fn assert_away(stack: &Stack) {
    let mut client = stack.connect(Version::H2).await;
    let asked = Instant::now();
    let probe = client.send(get("/readyz")).await.expect("an answer");
    assert_eq!(probe.status, 503);
    assert!(asked.elapsed() < PATIENCE, "a probe waits for nothing");
    let chat = client.send(streamed_chat(&json!({"text": "Hi."})));
    let refused = chat.await.expect("an answer");
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(refused.json()["error"]["code"], "codex_unavailable");
    assert_eq!(refused.header("retry-after"), "1");
}

#[tokio::test]
async fn whoever_is_started_last_the_chain_answers() {
    let mut stack = Stack::start().await;
    stack.sidecar.signal(Signal::SIGTERM);
    assert_eq!(stack.sidecar.wait().await, Some(0));
    stack.envoy = Envoy::start(envoy_before(&stack.sidecar)).await;
    assert_away(&stack).await;
    stack.sidecar.restart();
    assert_answers(&stack).await;

    let successor = Envoy::start(envoy_before(&stack.sidecar)).await;
    std::mem::replace(&mut stack.envoy, successor).stop().await;
    assert_answers(&stack).await;

    stack.sidecar.signal(Signal::SIGKILL);
    assert_eq!(stack.sidecar.wait().await, None);
    assert!(stack.sidecar.socket().exists(), "nobody removed it");
    assert_away(&stack).await;
    stack.sidecar.restart();
    assert_answers(&stack).await;
}

/// Asserts that each question had its answer, by one turn, and that who was turned away had waited in vain before.
fn assert_nothing_lost(stack: &Stack, asked: &[Asked]) {
    for asked in asked {
        assert_eq!(asked.answer.as_ref(), Ok(&asked.canary), "{asked:?}");
        assert_eq!(asked.turns(&stack.model), 1, "{asked:?}");
        let waited = |wait: &Duration| *wait >= PATIENCE;
        assert!(asked.turned_away.iter().all(waited), "{asked:?}");
    }
}

#[tokio::test]
async fn an_upgrade_loses_nothing() {
    let mut stack =
        Stack::start_with_sidecar(|options| options.env("PROXY_SSE_MAX_CONCURRENCY", "16")).await;
    let traffic = Traffic::start(stack.envoy.address(), TRIES);
    for round in ["one", "two", "three"] {
        traffic.flow(20).await;
        let script = json!([{"text": "par", "open": true}, {"hold": round}, {"text": "ty"}]);
        let mut client = stack.connect(Version::H2).await;
        let mut stream = Events::new(client.stream(streamed_chat(&script)).await.unwrap());
        stream.next_json().await;
        stream.next_json().await;
        let predecessor = stack.sidecar.upgrade().await;
        traffic.flow(20).await;
        stack.model.release(round);
        let rest = stream.rest().await.expect("the predecessor finishes it");
        assert_eq!(rest.last().unwrap(), "data: [DONE]", "{rest:?}");
        assert_eq!(predecessor.wait().await, Some(0), "{}", stack.sidecar.log());
    }
    assert_nothing_lost(&stack, &traffic.stop().await);
    assert!(stack.envoy.stat("cluster.sidecar.upstream_rq_retry").await > 0);
}

#[tokio::test]
async fn a_restart_loses_nothing() {
    let mut stack = Stack::start().await;
    let traffic = Traffic::start(stack.envoy.address(), TRIES);
    traffic.flow(20).await;
    stack.sidecar.signal(Signal::SIGTERM);
    let code = stack.sidecar.wait().await;
    assert_eq!(code, Some(0), "{}", stack.sidecar.log());
    stack.sidecar.restart();
    traffic.flow(20).await;
    assert_nothing_lost(&stack, &traffic.stop().await);
}

#[tokio::test]
async fn a_sidecar_that_is_killed_loses_only_what_it_had_begun() {
    let mut stack = Stack::start().await;
    let traffic = Traffic::start(stack.envoy.address(), 1);
    traffic.flow(20).await;
    stack.sidecar.signal(Signal::SIGKILL);
    assert_eq!(stack.sidecar.wait().await, None);
    stack.sidecar.restart();
    traffic.flow(20).await;
    let asked = traffic.stop().await;
    for asked in &asked {
        assert!(asked.turns(&stack.model) <= 1, "{asked:?}");
    }
    let waited = |asked: &Asked| asked.turned_away.iter().any(|wait| *wait >= PATIENCE);
    let lost = asked
        .iter()
        .filter(|asked| asked.answer.is_err() && !waited(asked));
    let lost: Vec<_> = lost.collect();
    assert!(lost.len() <= CLIENTS, "one each at most: {lost:?}");
}
