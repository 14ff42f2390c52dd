//! A client of `/v1/responses`: requests, and the parts of a response that the tests compare.

use http::Request;
use serde_json::{Value, json};
use tests::http::{Body, BufferedResponse, empty, get, post, with};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::Sidecar;

/// An input text that makes the model play `script`.
pub(super) fn play(script: &Value) -> String {
    format!("[[model:{script}]]")
}

/// A `POST /v1/responses` with the fields of `body`, and a default model.
pub(super) fn create(mut body: Value) -> Request<Body> {
    if body.get("model").is_none() {
        body["model"] = json!("codex-5");
    }
    post("/v1/responses", body.to_string())
}

pub(super) async fn send(sidecar: &Sidecar, request: Request<Body>) -> BufferedResponse {
    let mut client = sidecar.connect().await;
    client.send(request).await.expect("a response arrives")
}

/// The body of a response, which must have status 200.
#[track_caller]
pub(super) fn ok(http_response: &BufferedResponse) -> Value {
    assert_eq!(http_response.status, 200, "{http_response:?}");
    http_response.json()
}

/// Creates a response, which must succeed, and returns its body.
pub(super) async fn respond(sidecar: &Sidecar, body: Value) -> Value {
    ok(&send(sidecar, create(body)).await)
}

/// `GET /v1/responses/{path}`.
pub(super) async fn retrieve(sidecar: &Sidecar, path: &str) -> BufferedResponse {
    send(sidecar, get(&format!("/v1/responses/{path}"))).await
}

pub(super) async fn delete(sidecar: &Sidecar, id: &str) -> BufferedResponse {
    let path = format!("/v1/responses/{id}");
    send(sidecar, empty(http::Method::DELETE, &path)).await
}

pub(super) fn of_client(request: Request<Body>, client: &str) -> Request<Body> {
    with(request, "x-codex-edge-client", client)
}

pub(super) fn id(response: &Value) -> &str {
    response["id"].as_str().expect("a response has an id")
}

/// The text of the last message of a response.
pub(super) fn text(response: &Value) -> &str {
    let output = response["output"]
        .as_array()
        .expect("a response has output items");
    let mut messages = output.iter().filter(|item| item["type"] == "message");
    let last = messages.next_back().expect("the output has a message");
    last["content"][0]["text"]
        .as_str()
        .expect("the message has a text")
}

/// The input items of the last model request, each as its role or type, and its text, call id or encrypted content.
pub(super) fn sent(model: &ScriptedModel) -> Vec<(String, String)> {
    let requests = model.requests();
    let last = requests.last().expect("the model received a request");
    let string = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    last.conversation()
        .into_iter()
        .map(|item| {
            let kind = item.get("role").unwrap_or(&item["type"]);
            let content = [
                &item["content"][0]["text"],
                &item["call_id"],
                &item["encrypted_content"],
            ]
            .into_iter()
            .find(|field| field.is_string());
            (string(kind), content.map(string).unwrap_or_default())
        })
        .collect()
}
