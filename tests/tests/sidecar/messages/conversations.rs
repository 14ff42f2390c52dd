//! Conversations: tools, thinking and images over several requests, and what arrives at the model.

use serde_json::{Value, json};

use super::fixture::{ask, post_json, send, sent, tool};
use crate::stack::start;

/// Asks with `messages`, and appends the answer to them.
async fn go_on(
    sidecar: &tests::sidecar::Sidecar,
    messages: &mut Vec<Value>,
    more: &Value,
) -> (Value, String) {
    let mut body = json!({"model": "codex-5", "max_tokens": 1024, "messages": messages});
    for (name, value) in more.as_object().expect("an object") {
        body[name] = value.clone();
    }
    let response = send(sidecar, post_json("/v1/messages", &body)).await;
    assert_eq!(response.status, 200, "{response:?}");
    let message = response.json();
    messages.push(json!({"role": "assistant", "content": message["content"]}));
    let thread = &response.headers["x-codex-edge-thread"];
    (message, thread.to_str().expect("a text").to_owned())
}

#[tokio::test]
async fn tool_loop_with_thinking_is_one_thread_and_returns_the_reasoning() {
    let (model, mut sidecar) = start().await;
    let rounds = json!([
        [{"reasoning": ["Two."], "encrypted_content": "gAAA"}, {"text": "I look."},
         {"call": "look", "call_id": "c1", "arguments": "{\"city\":\"Oslo\"}"},
         {"call": "look", "call_id": "c2", "arguments": "{\"city\":\"Rome\"}"}],
        [{"text": "Cold."}],
        [{"text": "Bye."}],
    ]);
    let more = json!({
        "system": [{"type": "text", "text": "Be brief."}],
        "tools": [tool("look")],
        "thinking": {"type": "enabled", "budget_tokens": 2048},
    });
    let mut messages =
        vec![json!({"role": "user", "content": format!("Weather? [[model:{rounds}]]")})];
    let (message, _) = go_on(&sidecar, &mut messages, &more).await;
    assert_eq!(message["stop_reason"], "tool_use");
    assert_eq!(
        message["content"],
        json!([
            {"type": "thinking", "thinking": "Two.", "signature": "codex.gAAA"},
            {"type": "text", "text": "I look.", "citations": null},
            {"type": "tool_use", "id": "c1", "name": "look", "input": {"city": "Oslo"}, "caller": {"type": "direct"}},
            {"type": "tool_use", "id": "c2", "name": "look", "input": {"city": "Rome"}, "caller": {"type": "direct"}},
        ])
    );
    messages.push(json!({"role": "user", "content": [
        {"type": "tool_result", "tool_use_id": "c1", "content": "-3"},
        {"type": "tool_result", "tool_use_id": "c2", "content": "Closed.", "is_error": true},
    ]}));
    let (message, thread) = go_on(&sidecar, &mut messages, &more).await;
    assert_eq!(
        (message["content"][0]["text"].as_str(), thread.as_str()),
        (Some("Cold."), "warm")
    );
    // After a restart the client's conversation is all there is.
    sidecar.signal(nix::sys::signal::Signal::SIGTERM);
    assert_eq!(sidecar.wait().await, Some(0));
    sidecar.restart();
    sidecar.wait_until_ready().await;
    messages.push(json!({"role": "user", "content": "Bye."}));
    go_on(&sidecar, &mut messages, &more).await;
    let items: Vec<_> = sent(&model)
        .into_iter()
        .map(|item| {
            let kind = item["role"]
                .as_str()
                .or(item["type"].as_str())
                .unwrap_or_default();
            let texts = [
                &item["encrypted_content"],
                &item["arguments"],
                &item["output"],
                &item["content"][0]["text"],
            ];
            let text = texts
                .into_iter()
                .find_map(Value::as_str)
                .unwrap_or_default();
            format!("{kind} {}", text.split(" [[").next().unwrap())
        })
        .collect();
    assert_eq!(
        items,
        [
            "developer Be brief.",
            "user Weather?",
            "reasoning gAAA",
            "assistant I look.",
            "function_call {\"city\":\"Oslo\"}",
            "function_call {\"city\":\"Rome\"}",
            "function_call_output -3",
            "function_call_output Tool error: Closed.",
            "assistant Cold.",
            "user Bye.",
        ]
    );
}

#[tokio::test]
async fn user_id_chooses_among_equal_threads_and_nothing_else() {
    let (model, sidecar) = start().await;
    let script = json!([[{"text": "One."}], [{"text": "Two."}], [{"text": "Three."}]]);
    let question = vec![json!({"role": "user", "content": format!("one [[model:{script}]]")})];
    let users = ["first", "second"].map(|id| json!({"metadata": {"user_id": id}}));
    let mut conversations = [question.clone(), question];
    for (messages, user) in conversations.iter_mut().zip(&users) {
        go_on(&sidecar, messages, user).await;
    }
    for (messages, user) in conversations.iter_mut().zip(&users) {
        messages.push(json!({"role": "user", "content": "two"}));
        let (_, thread) = go_on(&sidecar, messages, user).await;
        assert_eq!(thread, "warm");
    }
    let requests = model.requests();
    let keys: Vec<_> = requests
        .iter()
        .map(|request| &request.body["prompt_cache_key"])
        .collect();
    assert_eq!([keys[2], keys[3]], [keys[0], keys[1]]);
    let edited = &mut conversations[0];
    edited[2]["content"] = json!("Edited.");
    edited.push(json!({"role": "user", "content": "three"}));
    let (_, thread) = go_on(&sidecar, edited, &users[0]).await;
    assert_eq!(thread, "new", "the id alone finds nothing");
}

#[tokio::test]
async fn tool_choice_decides_what_is_offered_and_which_calls_the_client_gets() {
    let (model, sidecar) = start().await;
    let look =
        |id: &str| json!({"call": "look", "call_id": id, "arguments": "{\"city\": \"Oslo\"}"});
    let calls = json!([look("c1"), look("c2")]);
    let both: &[&str] = &["look", "hear"];
    let one: &[&str] = &["look"];
    for (choice, offered, called) in [
        (json!({"type": "auto"}), both, 2),
        (
            json!({"type": "auto", "disable_parallel_tool_use": true}),
            both,
            1,
        ),
        (json!({"type": "any"}), both, 2),
        (
            json!({"type": "any", "disable_parallel_tool_use": true}),
            both,
            1,
        ),
        (json!({"type": "tool", "name": "look"}), one, 2),
        (
            json!({"type": "tool", "name": "look", "disable_parallel_tool_use": true}),
            one,
            1,
        ),
        (json!({"type": "none"}), &[], 0),
    ] {
        let script = match called {
            0 => json!({"text": "No call."}),
            _ => calls.clone(),
        };
        let fields = json!({"tools": [tool("look"), tool("hear")], "tool_choice": choice});
        let message = ask(&sidecar, script, fields).await;
        let requests = model.requests();
        let tools = requests.last().expect("a request").offered_tools();
        let names: Vec<_> = tools
            .iter()
            .filter_map(|tool| tool["name"].as_str())
            .collect();
        assert_eq!(names, offered, "{choice}");
        let blocks = message["content"].as_array().expect("a list");
        let uses = blocks.iter().filter(|block| block["type"] == "tool_use");
        assert_eq!(uses.count(), called, "{choice} {message}");
        let reason = if called == 0 { "end_turn" } else { "tool_use" };
        assert_eq!(message["stop_reason"], reason, "{choice}");
    }
}

#[tokio::test]
async fn thinking_asks_the_model_for_effort_and_summary() {
    let (model, sidecar) = start().await;
    for (fields, effort, summary) in [
        (
            json!({"thinking": {"type": "enabled", "budget_tokens": 31_999}}),
            "high",
            json!("auto"),
        ),
        (
            json!({"thinking": {"type": "adaptive", "display": "omitted"}, "output_config": {"effort": "low"}}),
            "low",
            Value::Null,
        ),
        (
            json!({"thinking": {"type": "disabled"}}),
            "low",
            Value::Null,
        ),
        (
            json!({"output_config": {"effort": "max"}}),
            "max",
            Value::Null,
        ),
    ] {
        ask(&sidecar, json!({"text": "Yes."}), fields.clone()).await;
        let requests = model.requests();
        let reasoning = &requests.last().unwrap().body["reasoning"];
        assert_eq!(reasoning["effort"], effort, "{fields}");
        assert_eq!(reasoning["summary"], summary, "{fields}");
    }
}

#[tokio::test]
async fn images_arrive_in_messages_and_in_tool_results() {
    let (model, sidecar) = start().await;
    let url = crate::images::png(2, 2);
    let data = url.split_once(',').unwrap().1;
    let image = json!({"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": data}});
    let script = json!({"text": "A dot."});
    let messages = json!([
        {"role": "user", "content": [image, {"type": "text", "text": "Look."}]},
        {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "look", "input": {}}]},
        {"role": "user", "content": [
            {"type": "tool_result", "tool_use_id": "c1", "content": [image], "is_error": true},
            {"type": "text", "text": format!("[[model:{script}]]")},
        ]},
    ]);
    let body = json!({"model": "codex-5", "max_tokens": 99, "messages": messages, "tools": [tool("look")]});
    let response = send(&sidecar, post_json("/v1/messages", &body)).await;
    assert_eq!(
        response.json()["content"][0]["text"],
        "A dot.",
        "{response:?}"
    );
    let text = sent(&model)
        .iter()
        .map(Value::to_string)
        .collect::<String>();
    assert_eq!(text.matches("input_image").count(), 2, "{text}");
    assert!(text.contains("Tool error:"), "{text}");
}

#[tokio::test]
async fn output_format_is_enforced_by_the_provider() {
    let (model, sidecar) = start().await;
    let schema = json!({"type": "object", "properties": {"a": {"type": "integer"}}, "required": ["a"], "additionalProperties": false});
    let format = json!({"type": "json_schema", "schema": schema});
    let message = ask(
        &sidecar,
        json!({"auto": "x"}),
        json!({"output_config": {"format": format}}),
    )
    .await;
    let text = message["content"][0]["text"].as_str().unwrap();
    assert!(
        serde_json::from_str::<Value>(text).unwrap()["a"].is_i64(),
        "{text}"
    );
    let requests = model.requests();
    assert_eq!(
        requests.last().unwrap().body["text"]["format"]["schema"],
        schema
    );
}

#[tokio::test]
async fn required_tool_that_is_not_called_is_an_error() {
    let (_model, sidecar) = start().await;
    let fields = json!({"tools": [tool("look")], "tool_choice": {"type": "any"}});
    let request = super::fixture::request(&json!({"text": "No."}), &fields);
    let response = send(&sidecar, request).await;
    assert_eq!(response.status, 502);
    assert_eq!(
        response.json()["error"]["details"]["error_code"],
        "codex_failed"
    );
}
