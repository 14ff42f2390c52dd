//! Requests to the Messages API, and what arrives at the model.

use http::Request;
use serde_json::{Value, json};
use tests::http::{Body, BufferedResponse, post, with};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::Sidecar;
use tests::sse::{self, Events};

/// A request with a message that makes the model play `script`, and with `more` fields.
pub(super) fn request(script: &Value, more: &Value) -> Request<Body> {
    let mut body = json!({
        "model": "codex-5",
        "max_tokens": 1024,
        "messages": [{"role": "user", "content": format!("[[model:{script}]]")}],
    });
    for (name, value) in more.as_object().expect("the fields are an object") {
        body[name] = value.clone();
    }
    post_json("/v1/messages", &body)
}

pub(super) fn post_json(path: &str, body: &Value) -> Request<Body> {
    with(
        post(path, body.to_string()),
        "anthropic-version",
        "2023-06-01",
    )
}

pub(super) async fn send(sidecar: &Sidecar, request: Request<Body>) -> BufferedResponse {
    let mut client = sidecar.connect().await;
    client.send(request).await.expect("a response arrives")
}

/// Returns the message that answers `script`.
pub(super) async fn ask(sidecar: &Sidecar, script: Value, more: Value) -> Value {
    let response = send(sidecar, request(&script, &more)).await;
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

/// Returns the events of the stream that answers `script`.
pub(super) async fn stream(sidecar: &Sidecar, script: Value, mut more: Value) -> Vec<Value> {
    more["stream"] = json!(true);
    let mut client = sidecar.connect().await;
    let stream = client.stream(request(&script, &more)).await;
    let mut events = Events::new(stream.expect("a response arrives"));
    let frames = events.rest().await.expect("the stream is not cut off");
    frames.iter().map(|frame| event(frame)).collect()
}

/// Returns the data of a frame; its name repeats the type of the event.
pub(super) fn event(frame: &str) -> Value {
    let data = sse::json(frame);
    let name = data["type"].as_str().expect("an event has a type");
    assert!(frame.starts_with(&format!("event: {name}\n")), "{frame}");
    data
}

/// The types of events, with those that repeat written once.
pub(super) fn types(events: &[Value]) -> Vec<&str> {
    let mut types: Vec<_> = events
        .iter()
        .map(|event| event["type"].as_str().unwrap_or_default())
        .collect();
    types.dedup();
    types
}

/// The message that the events add up to, as the SDKs accumulate it.
pub(super) fn accumulate(events: &[Value]) -> Value {
    let mut message = events[0]["message"].clone();
    for event in events {
        let index = event["index"].as_u64().unwrap_or_default();
        match event["type"].as_str().expect("a text") {
            "content_block_start" => {
                let content = message["content"].as_array_mut().expect("a list");
                content.push(event["content_block"].clone());
            }
            "content_block_delta" => {
                let block =
                    &mut message["content"][usize::try_from(index).expect("an index is small")];
                let delta = &event["delta"];
                match delta["type"].as_str().expect("a text") {
                    "text_delta" => append(&mut block["text"], &delta["text"]),
                    "thinking_delta" => append(&mut block["thinking"], &delta["thinking"]),
                    "signature_delta" => block["signature"] = delta["signature"].clone(),
                    "input_json_delta" => {
                        let json = delta["partial_json"].as_str().expect("a text");
                        block["input"] = serde_json::from_str(json).expect("the input is JSON");
                    }
                    other => panic!("unknown delta {other}"),
                }
            }
            "message_delta" => {
                for (name, value) in event["delta"].as_object().expect("an object") {
                    message[name] = value.clone();
                }
                message["usage"] = event["usage"].clone();
            }
            _ => {}
        }
    }
    message
}

fn append(text: &mut Value, delta: &Value) {
    let whole = format!(
        "{}{}",
        text.as_str().expect("a text"),
        delta.as_str().expect("a text")
    );
    *text = json!(whole);
}

/// The input items of the last model request.
pub(super) fn sent(model: &ScriptedModel) -> Vec<Value> {
    let requests = model.requests();
    let last = requests.last().expect("the model received a request");
    last.conversation().into_iter().cloned().collect()
}

/// A tool with one parameter, a city.
pub(super) fn tool(name: &str) -> Value {
    let schema =
        json!({"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]});
    json!({"name": name, "description": "Weather.", "input_schema": schema})
}
