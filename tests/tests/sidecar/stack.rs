//! The fixture of these tests: a scripted model, a sidecar in front of it, and chat requests.

use std::time::Duration;

use http::Request;
use serde_json::{Value, json};
use tests::http::{Body, BufferedResponse, post};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{Sidecar, SidecarOptions, codex_tool};
use tests::sse::{self, Events};
use tokio::time::{sleep, timeout};
use xtask::tools::Tool;

/// Deadline of a condition that the sidecar should meet at once.
pub(crate) const SOON: Duration = Duration::from_secs(10);

/// Starts a scripted model, and a sidecar with default options.
pub(crate) async fn start() -> (ScriptedModel, Sidecar) {
    start_with(|options| options).await
}

/// Starts a scripted model, and a sidecar after `change` of its options.
pub(crate) async fn start_with(
    change: impl FnOnce(SidecarOptions) -> SidecarOptions,
) -> (ScriptedModel, Sidecar) {
    start_codex(codex_tool(), change).await
}

/// Starts a scripted model with the models of `codex`, and a sidecar with that Codex after `change` of its options.
pub(crate) async fn start_codex(
    codex: Tool,
    change: impl FnOnce(SidecarOptions) -> SidecarOptions,
) -> (ScriptedModel, Sidecar) {
    let model = ScriptedModel::start_for(codex)
        .await
        .expect("a loopback port is free");
    let options = SidecarOptions::with_codex(codex, &model);
    let sidecar = change(options).start().await;
    (model, sidecar)
}

/// A chat request with a message that makes the model play `script`.
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

/// Sends a chat and returns the buffered response.
pub(crate) async fn ask(sidecar: &Sidecar, script: Value, more: Value) -> BufferedResponse {
    let mut client = sidecar.connect().await;
    client
        .send(chat(&script, &more))
        .await
        .expect("a response arrives")
}

/// Starts a streamed chat and returns its events.
pub(crate) async fn stream(sidecar: &Sidecar, script: Value) -> Events {
    let mut client = sidecar.connect().await;
    let stream = client.stream(chat(&script, &json!({"stream": true}))).await;
    Events::new(stream.expect("a response arrives"))
}

/// The content of a chunk, or an empty text.
pub(crate) fn content(chunk: &Value) -> &str {
    chunk["choices"][0]["delta"]["content"]
        .as_str()
        .unwrap_or_default()
}

/// Asserts that `response` is an error in OpenAI's shape with this status and code.
#[track_caller]
pub(crate) fn assert_error(response: &BufferedResponse, status: u16, code: &str) {
    assert_eq!(response.status.as_u16(), status, "{response:?}");
    assert_eq!(response.json()["error"]["code"], code, "{response:?}");
}

/// Asserts that a chat fails with the same code buffered and streamed. A stream that fails before its first text has
/// the status and the headers of a buffered response. One that fails later has neither a finish reason nor `[DONE]`.
pub(crate) async fn assert_fails(sidecar: &Sidecar, script: Value, status: u16, code: &str) {
    let buffered = ask(sidecar, script.clone(), json!({})).await;
    assert_error(&buffered, status, code);
    if !script.to_string().contains(r#""text":"#) {
        let streamed = ask(sidecar, script, json!({"stream": true})).await;
        assert_error(&streamed, status, code);
        for name in ["content-type", "retry-after", "x-should-retry"] {
            assert_eq!(streamed.headers.get(name), buffered.headers.get(name));
        }
        return;
    }
    let events = stream(sidecar, script.clone())
        .await
        .rest()
        .await
        .expect("the stream ends without a transport error");
    let last = sse::json(events.last().expect("the stream has an error event"));
    assert_eq!(last["error"]["code"], code, "{script}: {events:?}");
    let is_end =
        |event: &String| event.contains("[DONE]") || event.contains("\"finish_reason\":\"");
    assert!(!events.iter().any(is_end), "{script}: {events:?}");
}

/// Waits until `condition` holds; `description` names the condition in the panic message.
pub(crate) async fn eventually(description: &str, condition: impl Fn() -> bool) {
    let wait = async {
        while !condition() {
            sleep(Duration::from_millis(10)).await;
        }
    };
    let met = timeout(SOON, wait).await;
    assert!(met.is_ok(), "not within {SOON:?}: {description}");
}
