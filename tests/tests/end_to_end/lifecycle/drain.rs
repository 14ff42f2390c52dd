//! Drain of the sidecar and of Envoy: open streams run to their end.
//! Section 7 of the contract, "Drain", and the first comment of `envoy/envoy.yaml`.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::http::{DEADLINE, Version};
use tests::scripted_model::{Delivery, RecordedRequest, ScriptedModel};
use tests::sidecar::wait_until_gone;
use tests::sse::{self, Events};
use tokio::time::{sleep, timeout};

use crate::stack::{Chain, streamed_chat};

/// Interval between checks of a condition.
const POLL: Duration = Duration::from_millis(10);

/// Number of streams that are open at SIGTERM.
const STREAMS: usize = 50;

/// The text of each stream: the first five characters arrive before SIGTERM, the rest after it.
const TEXT: &str = "one, two, three, four, five";

/// The script of a stream: the first part, a wait for the release of `hold`, and the rest over about two seconds.
fn script(hold: &str) -> Value {
    let rest = json!({"text": &TEXT[5..], "delta_chars": 6, "delay_ms": 500});
    json!([{"text": &TEXT[..5], "open": true}, {"hold": hold}, rest])
}

/// Starts a number of streams and reads the first part of each.
async fn begin(chain: &Chain, streams: usize, hold: &str) -> Vec<Events> {
    let mut open = Vec::new();
    for number in 0..streams {
        let version = [Version::H1, Version::H2][number % 2];
        let mut client = chain.connect(version).await;
        let response = client.stream(streamed_chat(&script(hold))).await;
        let mut events = Events::new(response.expect("a response arrives"));
        let role = events.next_json().await;
        assert_eq!(role["choices"][0]["delta"], json!({"role": "assistant"}));
        let first = events.next_json().await;
        assert_eq!(first["choices"][0]["delta"]["content"], TEXT[..5]);
        open.push(events);
    }
    open
}

/// Reads a stream to its end and asserts that the rest of the text, the finish reason and `[DONE]` are complete.
async fn assert_complete(mut events: Events) {
    let mut rest = events.rest().await.expect("the stream is not cut");
    rest.retain(|event| !event.starts_with(':')); // Keepalive comments.
    assert_eq!(rest.pop().as_deref(), Some("data: [DONE]"));
    let chunks: Vec<Value> = rest.iter().map(|event| sse::json(event)).collect();
    let text = |chunk: &Value| {
        let text = chunk["choices"][0]["delta"]["content"].as_str();
        text.unwrap_or_default().to_owned()
    };
    assert_eq!(chunks.iter().map(text).collect::<String>(), TEXT[5..]);
    let reasons: Vec<_> = chunks
        .iter()
        .map(|chunk| &chunk["choices"][0]["finish_reason"])
        .filter(|reason| !reason.is_null())
        .collect();
    assert_eq!(reasons, ["stop"]);
}

/// Asserts that the model has received this number of requests, and that each response was read to its end.
fn assert_turns(model: &ScriptedModel, turns: usize) {
    let requests = model.requests();
    assert_eq!(requests.len(), turns);
    let cut = |request: &RecordedRequest| request.delivery != Delivery::Done;
    assert!(!requests.iter().any(cut));
}

/// Starts the chain with permits for all streams and a drain time of `drain_ms`.
async fn start(drain_ms: &str) -> Chain {
    Chain::start_with_sidecar(|options| {
        options
            .env("PROXY_SSE_MAX_CONCURRENCY", "64")
            .env("PROXY_DRAIN_MS", drain_ms)
    })
    .await
}

#[tokio::test]
async fn sidecar_drain_completes_open_streams_and_accepts_no_new_ones() {
    let mut chain = start("120000").await;
    let children = chain.sidecar.children();
    let streams = begin(&chain, STREAMS, "stop").await;
    chain.sidecar.signal(Signal::SIGTERM);
    let unlinked = async {
        while chain.sidecar.socket().exists() {
            sleep(POLL).await;
        }
    };
    timeout(DEADLINE, unlinked)
        .await
        .expect("the sidecar unlinks its socket");
    let late = streamed_chat(&json!({"text": "late"}));
    let rejected = chain.connect(Version::H1).await.send(late).await.unwrap();
    assert_eq!(rejected.status, 503, "{rejected:?}");
    assert_eq!(rejected.json()["error"]["code"], "codex_unavailable");
    assert!(!rejected.header("retry-after").is_empty());
    chain.model.release("stop");
    for stream in streams {
        assert_complete(stream).await;
    }
    let code = chain.sidecar.wait().await;
    assert_eq!(code, Some(0), "{}", chain.sidecar.log());
    wait_until_gone(&children).await;
    let leftovers = chain.sidecar.leftover_files();
    assert!(leftovers.is_empty(), "{leftovers:?}");
    assert_turns(&chain.model, STREAMS);
}

#[tokio::test]
async fn streams_beyond_the_drain_deadline_end_with_an_error_event() {
    let mut chain = start("1000").await;
    let children = chain.sidecar.children();
    let streams = begin(&chain, STREAMS, "for ever").await;
    chain.sidecar.signal(Signal::SIGTERM);
    for mut stream in streams {
        let rest = stream.rest().await.expect("the stream is not cut");
        let (last, before) = rest.split_last().expect("the stream has an error event");
        assert_eq!(sse::json(last)["error"]["code"], "codex_unavailable");
        let looks_ended =
            |event: &String| event.contains("[DONE]") || event.contains("\"finish_reason\":\"");
        assert!(!before.iter().any(looks_ended), "{before:?}");
    }
    let code = chain.sidecar.wait().await;
    assert_eq!(code, Some(0), "{}", chain.sidecar.log());
    wait_until_gone(&children).await;
}

#[tokio::test]
async fn envoy_drain_completes_open_streams() {
    let chain = start("30000").await;
    let streams = begin(&chain, 8, "drain").await;
    let drained = chain
        .envoy
        .admin_post("/drain_listeners?graceful&skip_exit")
        .await;
    assert_eq!(drained.body, "OK\n");
    let active = || chain.envoy.stat("http.public.downstream_rq_active");
    assert_eq!(active().await, 8);
    chain.model.release("drain");
    for stream in streams {
        assert_complete(stream).await;
    }
    let idle = async {
        while active().await > 0 {
            sleep(POLL).await;
        }
    };
    timeout(DEADLINE, idle)
        .await
        .expect("Envoy has no active request");
    chain.envoy.stop().await;
    assert_turns(&chain.model, 8);
}
