//! The scripted model over a socket: streams, cuts, scripts, recorded requests.
//! Follows the tables in the docs of `tests::scripted_model`.

mod errors;
mod limits;
mod program;
mod prompt_cache;
mod record;
mod steering;
mod stream;

use std::net::Ipv4Addr;
use std::time::Duration;

use serde_json::{Value, json};
use tests::codex::models::CodexModels;
use tests::http::{BufferedResponse, Client, StreamedResponse, Version, post};
use tests::scripted_model::{Script, ScriptedModel, ServedModels};

/// The model of the requests.
const MODEL: &str = "gpt-5";

/// Deadline for events that are due at once.
const SOON: Duration = Duration::from_secs(10);

/// Starts a service that serves the models `gpt-5` and `gpt-5-mini`; these tests need no Codex.
async fn start() -> ScriptedModel {
    let efforts = &["low", "medium", "high"];
    let models = CodexModels::new([(MODEL, efforts), ("gpt-5-mini", efforts)]);
    let address = (Ipv4Addr::LOCALHOST, 0).into();
    ScriptedModel::listen(address, ServedModels::Listed(models))
        .await
        .expect("a port is free")
}

async fn connect(model: &ScriptedModel) -> Client {
    Client::connect(model.address(), Version::H1).await
}

fn script(steps: Value) -> Script {
    Script::parse(steps).expect("the script is valid")
}

/// The request that Codex sends for `prompt`.
fn body(prompt: &str) -> Value {
    json!({
        "model": MODEL,
        "stream": true,
        "input": [
            {"type": "message", "role": "user", "content": [{"type": "input_text", "text": prompt}]},
        ],
    })
}

/// A prompt with a directive.
fn directive(steps: &Value) -> String {
    format!("Please answer. [[model:{steps}]]")
}

async fn send(model: &ScriptedModel, body: &Value) -> BufferedResponse {
    let request = post("/v1/responses", body.to_string());
    let response = connect(model).await.send(request).await;
    response.expect("the response is complete")
}

/// The whole response to a script in the prompt.
async fn play(model: &ScriptedModel, steps: &Value) -> BufferedResponse {
    send(model, &body(&directive(steps))).await
}

/// The head of the response to a script in the prompt; dropping the client closes the connection.
async fn begin(model: &ScriptedModel, steps: &Value) -> (Client, StreamedResponse) {
    let mut client = connect(model).await;
    let request = post("/v1/responses", body(&directive(steps)).to_string());
    let stream = client
        .stream(request)
        .await
        .expect("a response head arrives");
    (client, stream)
}

/// The events of a stream, which must be well-formed and numbered.
fn events(stream: &[u8]) -> Vec<Value> {
    let text = std::str::from_utf8(stream).expect("the stream is UTF-8");
    let frames = text.split_terminator("\n\n");
    let events: Vec<Value> = frames
        .map(|frame| {
            let (kind, data) = frame
                .split_once("\ndata: ")
                .expect("an event has two lines");
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

/// The concatenated deltas of the messages.
fn text(response: &BufferedResponse) -> String {
    let events = events(&response.body);
    let deltas = events
        .iter()
        .filter(|event| event["type"] == "response.output_text.delta");
    deltas.filter_map(|event| event["delta"].as_str()).collect()
}
