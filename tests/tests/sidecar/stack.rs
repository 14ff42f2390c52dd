//! What every test here starts with: a scripted model, a sidecar before it, and a chat request.

use std::time::Duration;

use http::Request;
use serde_json::{Value, json};
use tests::http::{Body, BufferedResponse, post};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{Sidecar, SidecarOptions};
use tests::sse::{self, Events};
use tokio::time::{sleep, timeout};

/// Longest wait for something that the sidecar should do at once.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// A model and a sidecar as they ship.
pub(crate) async fn start() -> (ScriptedModel, Sidecar) {
    start_with(|options| options).await
}

/// A model, and a sidecar with what `change` changes.
pub(crate) async fn start_with(
    change: impl FnOnce(SidecarOptions) -> SidecarOptions,
) -> (ScriptedModel, Sidecar) {
    let model = ScriptedModel::start()
        .await
        .expect("a loopback port is free");
    let sidecar = change(SidecarOptions::new(&model)).start().await;
    (model, sidecar)
}

/// A chat request whose last message tells the model to play `script`.
pub(crate) fn chat(script: &Value, more: &Value) -> Request<Body> {
    let mut body = json!({
        "model": "codex-5",
        "messages": [{"role": "user", "content": format!("[[model:{script}]]")}],
    });
    let (Some(fields), Some(more)) = (body.as_object_mut(), more.as_object()) else {
        unreachable!("both are objects");
    };
    fields.extend(more.clone());
    post("/v1/chat/completions", body.to_string())
}

/// Sends a chat and returns the whole answer.
pub(crate) async fn ask(sidecar: &Sidecar, script: Value, more: Value) -> BufferedResponse {
    let mut client = sidecar.connect().await;
    client.send(chat(&script, &more)).await.expect("an answer")
}

/// Begins a chat and returns its events.
pub(crate) async fn stream(sidecar: &Sidecar, script: Value) -> Events {
    let mut client = sidecar.connect().await;
    let stream = client.stream(chat(&script, &json!({"stream": true}))).await;
    Events::new(stream.expect("an answer"))
}

/// The content of a chunk; empty where there is none.
pub(crate) fn content(chunk: &Value) -> &str {
    chunk["choices"][0]["delta"]["content"]
        .as_str()
        .unwrap_or_default()
}

/// Asserts that `answer` is an error in OpenAI's shape with this status and code.
#[track_caller]
pub(crate) fn assert_error(answer: &BufferedResponse, status: u16, code: &str) {
    assert_eq!(answer.status.as_u16(), status, "{answer:?}");
    assert_eq!(answer.json()["error"]["code"], code, "{answer:?}");
}

/// Asks twice, gathered and streamed, and asserts that both fail alike and that neither looks like an answer.
pub(crate) async fn assert_fails(sidecar: &Sidecar, script: Value, status: u16, code: &str) {
    let gathered = ask(sidecar, script.clone(), json!({})).await;
    assert_error(&gathered, status, code);
    let events = stream(sidecar, script.clone()).await.rest().await;
    let events = events.expect("the stream ends well, whatever it says");
    let last = sse::json(events.last().expect("an error"));
    assert_eq!(last["error"]["code"], code, "{script}: {events:?}");
    let is_end =
        |event: &String| event.contains("[DONE]") || event.contains("\"finish_reason\":\"");
    assert!(!events.iter().any(is_end), "{script}: {events:?}");
}

/// Waits until `is_so`.
pub(crate) async fn eventually(what: &str, is_so: impl Fn() -> bool) {
    let so = async {
        while !is_so() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let so = timeout(SOON, so).await;
    assert!(so.is_ok(), "not after {SOON:?}: {what}");
}
