//! Responses from request to answer, and what is kept of them for the next.
//! OpenAI API reference, "Responses".

mod create;
mod events;
mod refused;
mod state;

use http::Request;
use serde_json::{Value, json};
use tests::http::{Body, BufferedResponse, empty, get, post, with};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::Sidecar;

/// Input that tells the model to play `script`.
fn play(script: &Value) -> String {
    format!("[[model:{script}]]")
}

/// A request for a response, with the fields of `body` and a model.
fn create(mut body: Value) -> Request<Body> {
    if body.get("model").is_none() {
        body["model"] = json!("codex-5");
    }
    post("/v1/responses", body.to_string())
}

async fn send(sidecar: &Sidecar, request: Request<Body>) -> BufferedResponse {
    let mut client = sidecar.connect().await;
    client.send(request).await.expect("an answer")
}

/// A response that succeeds.
#[track_caller]
fn ok(answer: &BufferedResponse) -> Value {
    assert_eq!(answer.status, 200, "{answer:?}");
    answer.json()
}

/// Asks for a response, which succeeds.
async fn respond(sidecar: &Sidecar, body: Value) -> Value {
    ok(&send(sidecar, create(body)).await)
}

/// `GET /v1/responses/{path}`.
async fn look(sidecar: &Sidecar, path: &str) -> BufferedResponse {
    send(sidecar, get(&format!("/v1/responses/{path}"))).await
}

async fn delete(sidecar: &Sidecar, id: &str) -> BufferedResponse {
    let path = format!("/v1/responses/{id}");
    send(sidecar, empty(http::Method::DELETE, &path)).await
}

fn of_client(request: Request<Body>, client: &str) -> Request<Body> {
    with(request, "x-codex-edge-client", client)
}

fn id(response: &Value) -> &str {
    response["id"].as_str().expect("a response has an id")
}

/// The text of the last message of a response.
fn text(response: &Value) -> &str {
    let output = response["output"].as_array().expect("items");
    let mut messages = output.iter().filter(|item| item["type"] == "message");
    let last = messages.next_back().expect("a message");
    last["content"][0]["text"].as_str().expect("a text")
}

/// The items that the model was sent last, each as its role or type and its text or call.
fn sent(model: &ScriptedModel) -> Vec<(String, String)> {
    let requests = model.requests();
    let last = requests.last().expect("the model was asked");
    let items = last.body["input"].as_array().expect("items");
    let word = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let items = items.iter().map(|item| {
        let kind = item.get("role").unwrap_or(&item["type"]);
        let said = [
            &item["content"][0]["text"],
            &item["call_id"],
            &item["encrypted_content"],
        ];
        let said = said.into_iter().find(|said| said.is_string());
        (word(kind), said.map(word).unwrap_or_default())
    });
    items.collect()
}
