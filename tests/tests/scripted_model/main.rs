//! The scripted model over a socket: what it says, how it breaks off, how it is steered, what it records.
//! Follows the tables in the docs of `tests::scripted_model`.

mod errors;
mod program;
mod record;
mod steering;
mod stream;

use std::time::Duration;

use serde_json::{Value, json};
use tests::http::{Answer, Client, Stream, Version, post};
use tests::scripted_model::{Script, ScriptedModel};

/// Longest wait for something that happens at once.
const SOON: Duration = Duration::from_secs(10);

async fn start() -> ScriptedModel {
    ScriptedModel::start().await.expect("a port is free")
}

async fn connect(model: &ScriptedModel) -> Client {
    Client::connect(model.address(), Version::H1).await
}

fn script(steps: Value) -> Script {
    Script::parse(steps).expect("is a script")
}

/// What Codex sends when its user says `prompt`.
fn body(prompt: &str) -> Value {
    json!({
        "model": "gpt-5",
        "stream": true,
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": prompt}]},
        ],
    })
}

/// A prompt that asks for a script.
fn directive(steps: &Value) -> String {
    format!("Please answer. [[model:{steps}]]")
}

async fn send(model: &ScriptedModel, body: &Value) -> Answer {
    let request = post("/v1/responses", body.to_string());
    let answer = connect(model).await.send(request).await;
    answer.expect("the answer is whole")
}

/// The whole answer to a script in the prompt.
async fn play(model: &ScriptedModel, steps: &Value) -> Answer {
    send(model, &body(&directive(steps))).await
}

/// The head of the answer to a script in the prompt; the client stays for as long as it is held.
async fn begin(model: &ScriptedModel, steps: &Value) -> (Client, Stream) {
    let mut client = connect(model).await;
    let request = post("/v1/responses", body(&directive(steps)).to_string());
    let stream = client.stream(request).await.expect("a head comes");
    (client, stream)
}

/// The events of a stream, which has to be well formed and numbered.
fn events(stream: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(stream).expect("the stream is UTF-8");
    let frames = text.split_terminator("\n\n");
    let events: Vec<Value> = frames
        .map(|frame| {
            let (kind, data) = frame.split_once("\ndata: ").expect("two lines an event");
            let event: Value = serde_json::from_str(data).expect("data is JSON");
            assert_eq!(kind.strip_prefix("event: "), event["type"].as_str());
            event
        })
        .collect();
    for (number, event) in events.iter().enumerate() {
        assert_eq!(event["sequence_number"], number);
    }
    events
}

/// The deltas of the messages, joined.
fn text(answer: &Answer) -> String {
    let events = events(&answer.body);
    let deltas = events
        .iter()
        .filter(|event| event["type"] == "response.output_text.delta");
    deltas.filter_map(|event| event["delta"].as_str()).collect()
}
