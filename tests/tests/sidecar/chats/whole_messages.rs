//! Messages that the provider sends whole: in `response.output_item.done` alone, or with the deltas of their beginning.
//! Each text reaches the client once, in every API, streamed and buffered, and with both child protocols.

use serde_json::{Value, json};
use tests::http::post;
use tests::scripted_model::ScriptedModel;
use tests::sidecar::Sidecar;
use tests::sse::{self, Events};
use xtask::tools::Tool;

use super::completions;
use crate::stack::{ask, content, start, start_codex, stream};

/// Scripts with whole messages, and the texts of their messages.
fn scripts() -> [(Value, &'static [&'static str]); 4] {
    [
        (json!([{"text": "Héllo.", "whole": true}]), &["Héllo."]),
        (
            json!([{"text": "Hé", "open": true}, {"text": "llo.", "whole": true}]),
            &["Héllo."],
        ),
        (
            json!([{"text": "One.", "whole": true}, {"text": "Two.", "whole": true}]),
            &["One.", "Two."],
        ),
        (
            json!([{"text": "One.", "delta_chars": 2}, {"text": "Two.", "whole": true}]),
            &["One.", "Two."],
        ),
    ]
}

#[tokio::test]
async fn whole_message_of_the_app_server_is_an_answer_in_every_api() {
    check(start().await).await;
}

#[tokio::test]
async fn whole_message_of_proto_is_an_answer_in_every_api() {
    let proto = start_codex(Tool::CodexProto, |options| options);
    check(proto.await).await;
}

async fn check((_model, sidecar): (ScriptedModel, Sidecar)) {
    for (script, messages) in scripts() {
        let text = messages.join("\n\n");
        check_chat(&sidecar, &script, &text).await;
        check_completion(&sidecar, &script, &text).await;
        check_response(&sidecar, &script, &text).await;
    }
}

async fn check_chat(sidecar: &Sidecar, script: &Value, text: &str) {
    let body = ask(sidecar, script.clone(), json!({})).await.json();
    let choice = &body["choices"][0];
    assert_eq!(choice["message"]["content"], text, "{script}");
    assert_eq!(choice["finish_reason"], "stop", "{script}");
    let events = stream(sidecar, script.clone())
        .await
        .rest()
        .await
        .expect("the stream ends without a transport error");
    let (done, chunks) = events.split_last().expect("the stream has an end");
    assert_eq!(done, "data: [DONE]", "{script}");
    let chunks: Vec<Value> = chunks.iter().map(|chunk| sse::json(chunk)).collect();
    let streamed: String = chunks.iter().map(content).collect();
    assert_eq!(streamed, text, "{script}");
    let finish = &chunks.last().expect("the stream has a chunk")["choices"][0]["finish_reason"];
    assert_eq!(finish, "stop", "{script}");
}

async fn check_completion(sidecar: &Sidecar, script: &Value, text: &str) {
    let body = completions::ask(sidecar, script, &json!({})).await.json();
    assert_eq!(body["choices"][0]["text"], text, "{script}");
    let events = completions::stream(sidecar, script, &json!({"stream": true})).await;
    assert_eq!(completions::texts(&events).concat(), text, "{script}");
    assert_eq!(
        events.last().expect("the stream has an end"),
        "data: [DONE]",
        "{script}"
    );
}

async fn check_response(sidecar: &Sidecar, script: &Value, text: &str) {
    let request = |stream: bool| {
        let input = format!("[[model:{script}]]");
        let body = json!({"model": "codex-5", "input": input, "stream": stream});
        post("/v1/responses", body.to_string())
    };
    let mut client = sidecar.connect().await;
    let buffered = client
        .send(request(false))
        .await
        .expect("a response arrives")
        .json();
    assert_eq!(buffered["status"], "completed", "{script}");
    assert_eq!(output_text(&buffered), text, "{script}");
    let mut client = sidecar.connect().await;
    let streamed = client
        .stream(request(true))
        .await
        .expect("a response arrives");
    let events = Events::new(streamed)
        .rest()
        .await
        .expect("the stream ends without a transport error");
    let events: Vec<Value> = events.iter().map(|event| sse::json(event)).collect();
    let deltas: String = events
        .iter()
        .filter(|event| event["type"] == "response.output_text.delta")
        .filter_map(|event| event["delta"].as_str())
        .collect();
    assert_eq!(
        deltas,
        text.replace("\n\n", separator(&buffered)),
        "{script}"
    );
    let last = events.last().expect("the stream has an end");
    assert_eq!(last["type"], "response.completed", "{script}");
    assert_eq!(output_text(&last["response"]), text, "{script}");
}

/// The texts of the messages of a response; the messages are joined as in a chat.
fn output_text(response: &Value) -> String {
    let texts: Vec<_> = messages(response)
        .filter_map(|item| item["content"][0]["text"].as_str())
        .collect();
    texts.join("\n\n")
}

/// The text between the deltas of two messages: an app-server separates messages as items, and `proto` does not.
fn separator(response: &Value) -> &'static str {
    if messages(response).count() > 1 {
        ""
    } else {
        "\n\n"
    }
}

fn messages(response: &Value) -> impl Iterator<Item = &Value> {
    let output = response["output"].as_array().into_iter().flatten();
    output.filter(|item| item["type"] == "message")
}
