//! Turns that wait for the outputs of their tool calls.

use serde_json::json;
use tests::http::post;

use super::conversation::{
    Chat, assert_each_input_begins_with_the_last, cache_keys, call, comparable, tool,
};
use crate::stack::{assert_error, start};

/// Starts a chat with the tools `look` and `go`, and a script of rounds.
fn with_tools<'a>(sidecar: &'a tests::sidecar::Sidecar, rounds: &serde_json::Value) -> Chat<'a> {
    let mut chat = Chat::new(sidecar);
    chat.fields = json!({"tools": [tool("look"), tool("go")]});
    chat.user("Weather?", rounds);
    chat
}

#[tokio::test]
async fn outputs_continue_the_turn_that_made_the_calls() {
    let (model, sidecar) = start().await;
    let rounds = json!([
        [{"reasoning": ["Two."], "encrypted_content": "gAAA"}, {"text": "I look."}, call("c1"), call("c2")],
        [call("c3")],
        [{"text": "Cold."}],
    ]);
    let mut chat = with_tools(&sidecar, &rounds);
    assert_eq!(chat.send().await, "new");
    chat.output("c1", "-3");
    chat.output("c2", &"long ".repeat(50_000));
    assert_eq!(chat.send().await, "warm");
    chat.output("c3", "");
    assert_eq!(chat.send().await, "warm");
    assert_eq!(chat.ask("And now?").await, "warm");
    assert_eq!(
        model.requests().len(),
        4,
        "one model request for each HTTP request"
    );
    let keys = cache_keys(&model);
    assert_eq!(keys, vec![keys[0].clone(); 4]);
    assert_each_input_begins_with_the_last(&model);
}

#[tokio::test]
async fn outputs_that_codex_would_record_otherwise_begin_a_new_thread() {
    let image = json!({"type": "image_url", "image_url": {"url": crate::images::png(2, 2)}});
    let rounds = json!([[call("c1"), call("c2")], [call("c3")]]);
    type Edit = Box<dyn Fn(&mut Chat<'_>)>;
    let edits: [(&str, Edit); 6] = [
        (
            "in another order",
            Box::new(|chat| {
                let last = chat.messages.len() - 1;
                chat.messages.swap(last, last - 1);
            }),
        ),
        (
            "with a further message",
            Box::new(|chat| {
                chat.user("Quickly!", &call("c3"));
            }),
        ),
        (
            "with several parts",
            Box::new(|chat| {
                let part = json!({"type": "text", "text": "-3"});
                chat.messages.last_mut().unwrap()["content"] = json!([part, part]);
            }),
        ),
        (
            "with an image",
            Box::new(move |chat| {
                chat.messages.last_mut().unwrap()["content"] = json!([image]);
            }),
        ),
        (
            "with another output format",
            Box::new(|chat| {
                chat.fields["response_format"] = json!({"type": "json_object"});
            }),
        ),
        (
            "with a required call",
            Box::new(|chat| {
                chat.fields["tool_choice"] = json!("required");
            }),
        ),
    ];
    for (name, edit) in edits {
        let (model, sidecar) = start().await;
        let mut chat = with_tools(&sidecar, &rounds);
        chat.send().await;
        chat.output("c1", "-3");
        chat.output("c2", "-4");
        edit(&mut chat);
        let body = json!({"model": "codex-5", "messages": chat.messages, "tools": chat.fields["tools"],
            "response_format": chat.fields["response_format"], "tool_choice": chat.fields["tool_choice"]});
        let mut client = sidecar.connect().await;
        let request = tests::http::with(
            post("/v1/chat/completions", body.to_string()),
            "x-codex-edge-client",
            "ann",
        );
        let response = client.send(request).await.unwrap();
        assert_eq!(
            response.header("x-codex-edge-thread"),
            "new",
            "{name}: {response:?}"
        );
        let keys = cache_keys(&model);
        assert_ne!(keys[0], keys[1], "{name}");
    }
}

#[tokio::test]
async fn missing_output_is_an_error_and_the_turn_still_waits() {
    let (model, sidecar) = start().await;
    let rounds = json!([[call("c1"), call("c2")], [{"text": "Cold."}]]);
    let mut chat = with_tools(&sidecar, &rounds);
    chat.send().await;
    chat.output("c1", "-3");
    let body =
        json!({"model": "codex-5", "messages": chat.messages, "tools": chat.fields["tools"]});
    let mut client = sidecar.connect().await;
    let response = client
        .send(post("/v1/chat/completions", body.to_string()))
        .await
        .unwrap();
    assert_error(&response, 400, "invalid_request_error");
    chat.output("c2", "-4");
    assert_eq!(chat.send().await, "warm");
    let requests: Vec<_> = model.requests().iter().map(comparable).collect();
    assert_eq!(requests.len(), 2);
}

#[tokio::test]
async fn calls_that_the_client_does_not_get_leave_no_thread() {
    let (model, sidecar) = start().await;
    let rounds = json!([[call("c1"), call("c2")], [{"text": "Cold."}]]);
    for (fields, outputs) in [
        (json!({"parallel_tool_calls": false}), vec!["c1"]),
        (json!({"tool_choice": "required"}), vec!["c1", "c2"]),
    ] {
        let mut chat = with_tools(&sidecar, &rounds);
        chat.fields
            .as_object_mut()
            .unwrap()
            .extend(fields.as_object().unwrap().clone());
        chat.send().await;
        for id in outputs {
            chat.output(id, "-3");
        }
        chat.fields["tool_choice"] = json!("auto");
        assert_eq!(chat.send().await, "new", "{fields}");
    }
    let unknown =
        json!([[{"call": "unknown", "call_id": "c1", "arguments": "{}"}], [{"text": "Cold."}]]);
    let mut chat = with_tools(&sidecar, &unknown);
    chat.send().await;
    chat.output("c1", "no such tool");
    assert_eq!(chat.send().await, "new");
    let requests = model.requests();
    assert_eq!(requests.len(), 6, "no turn goes on by itself");
}
