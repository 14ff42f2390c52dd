//! Features of chats under `proto`, and the rejection of those that need a newer Codex.

use serde_json::{Value, json};
use tests::http::post;
use tests::sidecar::Sidecar;

use super::fixture::{start, start_with};
use crate::chats::completions;
use crate::stack::{SOON, ask, assert_error};

/// Sends a chat that succeeds, and returns the body of its response.
async fn send(sidecar: &Sidecar, body: &Value) -> Value {
    let mut client = sidecar.connect().await;
    let request = post("/v1/chat/completions", body.to_string());
    let response = client.send(request).await.expect("the sidecar responds");
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

fn tools() -> Value {
    json!([{"type": "function", "function": {"name": "get_weather"}}])
}

#[tokio::test]
async fn tools_are_rejected_with_the_version_they_require() {
    let (model, sidecar) = start().await;
    let script = json!({"text": "Hi."});
    let rejected = ask(&sidecar, script.clone(), json!({"tools": tools()})).await;
    assert_error(&rejected, 400, "unsupported_value");
    let error = &rejected.json()["error"];
    assert_eq!(error["param"], "tools");
    let message = error["message"].as_str().unwrap();
    assert!(
        message.contains("0.42.0") && message.contains("0.169 or newer"),
        "{message}"
    );
    assert!(model.requests().is_empty());
    let none = json!({"tools": tools(), "tool_choice": "none"});
    assert_eq!(
        ask(&sidecar, script, none).await.status,
        200,
        "tools with tool_choice \"none\" are accepted"
    );
}

#[tokio::test]
async fn earlier_tool_calls_are_sent_as_history() {
    let (model, sidecar) = start().await;
    let body = json!({"model": "codex-5", "messages": [
        {"role": "user", "content": "Weather?"},
        {"role": "assistant", "tool_calls": [{"id": "c1", "type": "function", "function": {"name": "get_weather", "arguments": "{}"}}]},
        {"role": "tool", "tool_call_id": "c1", "content": "-3 degrees"},
        {"role": "user", "content": "And now?"},
    ]});
    send(&sidecar, &body).await;
    let sent = model.requests()[0].body["input"].to_string();
    assert!(
        sent.contains("get_weather") && sent.contains("-3 degrees"),
        "{sent}"
    );
}

#[tokio::test]
async fn json_schema_reaches_the_model() {
    let (model, sidecar) = start().await;
    let schema = json!({"type": "object", "properties": {"z": {"type": "string"}}, "required": ["z"], "additionalProperties": false});
    let format = json!({"type": "json_schema", "json_schema": {"name": "one", "schema": schema}});
    let script = json!({"text": "{\"z\":\"1\"}"});
    let response = ask(&sidecar, script, json!({"response_format": format})).await;
    assert_eq!(
        response.json()["choices"][0]["message"]["content"],
        "{\"z\":\"1\"}"
    );
    let sent = model.requests()[0].body["text"]["format"].clone();
    let mut named = schema.clone();
    named["title"] = json!("one");
    assert_eq!(
        (&sent["type"], &sent["schema"]),
        (&json!("json_schema"), &named)
    );
    let question = json!([{"role": "user", "content": "Say something."}]);
    let body = json!({"model": "codex-5", "messages": question, "response_format": {"type": "json_object"}});
    send(&sidecar, &body).await;
    let input = model.requests()[1].body["input"].to_string();
    assert!(input.contains("one JSON object"), "{input}");
}

#[tokio::test]
async fn turn_without_text_is_an_empty_answer() {
    let (_model, sidecar) = start().await;
    // Codex 0.42 shows the same events for both.
    for script in [json!({"refusal": "I will not."}), json!({"text": ""})] {
        let response = ask(&sidecar, script.clone(), json!({})).await;
        let message = &response.json()["choices"][0]["message"];
        assert_eq!(message["content"], "", "{script}");
        assert_eq!(message["refusal"], Value::Null, "{script}");
    }
}

#[tokio::test]
async fn truncated_text_interrupts_the_turn_in_the_child() {
    let (model, sidecar) = start_with(|options| options.env("PROXY_TOOL_BLOCK_MAX", "1")).await;
    let script = |text: &str| json!([{"text": text, "open": true, "delta_chars": 3}, {"hold": "for ever"}, {"text": "."}]);
    for (text, fields, cut, reason) in [
        (
            "one two END three",
            json!({"stop": ["END"]}),
            "one two ",
            "stop",
        ),
        (
            "one two END three",
            json!({"max_tokens": 1}),
            "one ",
            "length",
        ),
        (
            "A<use_tool>a</use_tool> B",
            json!({}),
            "A<use_tool>a</use_tool>",
            "stop",
        ),
    ] {
        let response = ask(&sidecar, script(text), fields).await.json();
        assert_eq!(response["choices"][0]["message"]["content"], cut);
        assert_eq!(response["choices"][0]["finish_reason"], reason);
    }
    let cut = model.wait_for_disconnects(3, SOON).await;
    assert!(cut.is_ok(), "Codex drops the model request of each turn");
}

#[tokio::test]
async fn images_of_all_messages_are_attached_in_order() {
    let (model, sidecar) = start().await;
    let first = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let second = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAIAAACQd1PeAAAADElEQVR42mP4z8AAAAMBAQD3A0FDAAAAAElFTkSuQmCC";
    let image = |url: &str| json!([{"type": "image_url", "image_url": {"url": url}}]);
    let body = json!({"model": "codex-5", "messages": [
        {"role": "user", "content": image(first)},
        {"role": "assistant", "content": "A dot."},
        {"role": "user", "content": image(second)},
    ]});
    send(&sidecar, &body).await;
    let sent = model.requests()[0].body["input"].to_string();
    let places = [first, second].map(|url| sent.find(url));
    assert!(places[0].is_some() && places[0] < places[1], "{sent}");
}

#[tokio::test]
async fn legacy_completions_work_buffered_and_streamed() {
    let (model, sidecar) = start().await;
    let script = json!({"text": "Héllo wörld", "delta_chars": 4});
    let response = completions::ask(&sidecar, &script, &json!({"max_tokens": 2}))
        .await
        .json();
    assert_eq!(response["choices"][0]["text"], "Héllo wö");
    assert_eq!(response["choices"][0]["finish_reason"], "length");
    let more = json!({"stream": true, "include_usage": true});
    let events = completions::stream(&sidecar, &script, &more).await;
    assert_eq!(completions::texts(&events), ["Héll", "o wö", "rld"]);
    assert_eq!(events.last().unwrap(), "data: [DONE]");
    let item = &model.requests()[0].body["input"];
    assert!(
        item.to_string().contains("Héllo wörld"),
        "the prompt reaches the model unchanged: {item}"
    );
}
