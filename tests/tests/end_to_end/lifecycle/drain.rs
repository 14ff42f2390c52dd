//! Who is told to stop lets the open streams come to their end, be it sidecar or Envoy.
//! The contract's section 7, "Drain", and the head of `envoy/envoy.yaml`.

use std::time::Duration;

use nix::sys::signal::Signal;
use serde_json::{Value, json};
use tests::http::{DEADLINE, Version};
use tests::scripted_model::{Delivery, RecordedRequest, ScriptedModel};
use tests::sidecar::wait_until_gone;
use tests::sse::{self, Events};
use tokio::time::{sleep, timeout};

use crate::stack::{Stack, streamed_chat};

/// Time between two looks at a condition.
const POLL: Duration = Duration::from_millis(10);

/// Streams that are open when the end begins.
const STREAMS: usize = 50;

/// What each of them says: a part before the end begins, the rest after it.
const TEXT: &str = "one, two, three, four, five";

/// The script of a stream whose rest waits for `hold` and takes two seconds then.
fn script(hold: &str) -> Value {
    let rest = json!({"text": &TEXT[5..], "delta_chars": 6, "delay_ms": 500});
    json!([{"text": &TEXT[..5], "open": true}, {"hold": hold}, rest])
}

/// Begins so many streams, each of which has said its first part.
async fn begin(stack: &Stack, streams: usize, hold: &str) -> Vec<Events> {
    let mut begun = Vec::new();
    for number in 0..streams {
        let version = [Version::H1, Version::H2][number % 2];
        let mut client = stack.connect(version).await;
        let answer = client.stream(streamed_chat(&script(hold))).await;
        let mut events = Events::new(answer.expect("an answer"));
        let role = events.next_json().await;
        assert_eq!(role["choices"][0]["delta"], json!({"role": "assistant"}));
        let first = events.next_json().await;
        assert_eq!(first["choices"][0]["delta"]["content"], TEXT[..5]);
        begun.push(events);
    }
    begun
}

/// Reads what is left of a stream that has begun, and asserts that nothing is missing.
async fn assert_whole(mut events: Events) {
    let mut rest = events.rest().await.expect("the stream does not break off");
    rest.retain(|event| !event.starts_with(':')); // Silence makes comments.
    assert_eq!(rest.pop().as_deref(), Some("data: [DONE]"));
    let chunks: Vec<Value> = rest.iter().map(|event| sse::json(event)).collect();
    let text = |chunk: &Value| {
        let text = chunk["choices"][0]["delta"]["content"].as_str();
        text.unwrap_or_default().to_owned()
    };
    assert_eq!(chunks.iter().map(text).collect::<String>(), TEXT[5..]);
    let reasons = chunks
        .iter()
        .map(|chunk| &chunk["choices"][0]["finish_reason"]);
    let reasons: Vec<_> = reasons.filter(|reason| !reason.is_null()).collect();
    assert_eq!(reasons, ["stop"]);
}

/// Asserts that the model was asked so many times, and that each answer was read to its end.
fn assert_turns(model: &ScriptedModel, turns: usize) {
    let requests = model.requests();
    assert_eq!(requests.len(), turns);
    let cut = |request: &RecordedRequest| request.delivery != Delivery::Done;
    assert!(!requests.iter().any(cut));
}

/// A sidecar for all the streams at once that lets them end for `drain_ms`.
async fn start(drain_ms: &str) -> Stack {
    Stack::start_with_sidecar(|options| {
        options
            .env("PROXY_SSE_MAX_CONCURRENCY", "64")
            .env("PROXY_DRAIN_MS", drain_ms)
    })
    .await
}

#[tokio::test]
async fn a_sidecar_that_stops_ends_no_stream_early_and_begins_none() {
    let mut stack = start("120000").await;
    let children = stack.sidecar.children();
    let streams = begin(&stack, STREAMS, "stop").await;
    stack.sidecar.signal(Signal::SIGTERM);
    let stopping = async {
        while stack.sidecar.socket().exists() {
            sleep(POLL).await;
        }
    };
    timeout(DEADLINE, stopping).await.expect("it hears of it");
    let late = streamed_chat(&json!({"text": "late"}));
    let refused = stack.connect(Version::H1).await.send(late).await.unwrap();
    assert_eq!(refused.status, 503, "{refused:?}");
    assert_eq!(refused.json()["error"]["code"], "codex_unavailable");
    assert!(!refused.header("retry-after").is_empty());
    stack.model.release("stop");
    for stream in streams {
        assert_whole(stream).await;
    }
    let code = stack.sidecar.wait().await;
    assert_eq!(code, Some(0), "{}", stack.sidecar.log());
    wait_until_gone(&children).await;
    let left = stack.sidecar.leftover_files();
    assert!(left.is_empty(), "{left:?}");
    assert_turns(&stack.model, STREAMS);
}

#[tokio::test]
async fn a_stream_that_outlives_the_drain_is_told_so() {
    let mut stack = start("1000").await;
    let children = stack.sidecar.children();
    let streams = begin(&stack, STREAMS, "for ever").await;
    stack.sidecar.signal(Signal::SIGTERM);
    for mut stream in streams {
        let rest = stream.rest().await.expect("no stream is cut");
        let (last, before) = rest.split_last().expect("an error frame");
        assert_eq!(sse::json(last)["error"]["code"], "codex_unavailable");
        let looks_ended =
            |event: &String| event.contains("[DONE]") || event.contains("\"finish_reason\":\"");
        assert!(!before.iter().any(looks_ended), "{before:?}");
    }
    let code = stack.sidecar.wait().await;
    assert_eq!(code, Some(0), "{}", stack.sidecar.log());
    wait_until_gone(&children).await;
}

#[tokio::test]
async fn an_envoy_that_drains_before_it_stops_cuts_nothing() {
    let stack = start("30000").await;
    let streams = begin(&stack, 8, "drain").await;
    let drained = stack
        .envoy
        .admin_post("/drain_listeners?graceful&skip_exit")
        .await;
    assert_eq!(drained.body, "OK\n");
    let active = || stack.envoy.stat("http.public.downstream_rq_active");
    assert_eq!(active().await, 8);
    stack.model.release("drain");
    for stream in streams {
        assert_whole(stream).await;
    }
    let idle = async {
        while active().await > 0 {
            sleep(POLL).await;
        }
    };
    timeout(DEADLINE, idle).await.expect("nothing is open");
    stack.envoy.stop().await;
    assert_turns(&stack.model, 8);
}
