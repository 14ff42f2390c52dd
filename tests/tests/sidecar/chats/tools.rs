//! Function calling: tools offered to the model, calls returned to the client, and outputs sent with the next request.
//! OpenAI API reference, "Function calling". Each HTTP request makes one model request.

use serde_json::{Value, json};
use tests::http::post;
use tests::scripted_model::ScriptedModel;
use tests::sidecar::Sidecar;
use tests::sse::Events;

use crate::stack::{SOON, ask, assert_error, chat, start};

/// A tool with one parameter, a city.
fn tool(name: &str) -> Value {
    let parameters = json!({"type": "object", "properties": {"city": {"type": "string"}}});
    json!({"type": "function", "function": {"name": name, "description": "Weather.", "parameters": parameters}})
}

fn call(call_id: &str, city: &str) -> Value {
    json!({"call": "get_weather", "call_id": call_id, "arguments": format!("{{\"city\": \"{city}\"}}")})
}

async fn send(sidecar: &Sidecar, body: &Value) -> Value {
    let mut client = sidecar.connect().await;
    let request = post("/v1/chat/completions", body.to_string());
    let response = client.send(request).await.expect("the sidecar responds");
    assert_eq!(response.status, 200, "{response:?}");
    response.json()
}

/// The input items of the last model request.
fn sent(model: &ScriptedModel) -> Vec<Value> {
    let requests = model.requests();
    let last = requests.last().expect("the model received a request");
    last.conversation().into_iter().cloned().collect()
}

#[tokio::test]
async fn tool_loop_is_one_conversation_across_a_restart() {
    let (model, mut sidecar) = start().await;
    let rounds = json!([
        [{"reasoning": ["Two."], "encrypted_content": "gAAA"}, {"text": "I will look."}, call("c1", "Oslo"), call("c2", "Rome")],
        [call("c3", "Bern")],
        [{"text": "Cold."}],
    ]);
    let mut messages = vec![
        json!({"role": "system", "content": "Be brief."}),
        json!({"role": "user", "content": format!("Weather? [[model:{rounds}]]")}),
    ];
    for (round, calls) in [(0, vec!["c1", "c2"]), (1, vec!["c3"]), (2, vec![])] {
        let body =
            json!({"model": "codex-5", "messages": messages, "tools": [tool("get_weather")]});
        let response = send(&sidecar, &body).await;
        assert_eq!(
            model.requests().len(),
            round + 1,
            "one model request for each HTTP request"
        );
        let message = &response["choices"][0]["message"];
        let none = Vec::new();
        let called = message["tool_calls"].as_array().unwrap_or(&none);
        let ids: Vec<_> = called
            .iter()
            .map(|call| call["id"].as_str().unwrap())
            .collect();
        assert_eq!(ids, calls, "{response}");
        let reason = if calls.is_empty() {
            "stop"
        } else {
            "tool_calls"
        };
        assert_eq!(response["choices"][0]["finish_reason"], reason);
        assert!(
            response["usage"]["prompt_tokens"].as_u64() > Some(0),
            "usage is reported by Codex: {response}"
        );
        messages.push(message.clone());
        for id in &ids {
            messages.push(
                json!({"role": "tool", "tool_call_id": id, "content": format!("result of {id}")}),
            );
        }
        if round == 1 {
            sidecar.signal(nix::sys::signal::Signal::SIGTERM);
            assert_eq!(sidecar.wait().await, Some(0));
            sidecar.restart();
            sidecar.wait_until_ready().await;
        }
    }
    let kinds: Vec<_> = sent(&model)
        .iter()
        .map(|item| {
            let name = item["role"]
                .as_str()
                .or(item["type"].as_str())
                .unwrap_or_default();
            let id = item["call_id"].as_str().unwrap_or_default();
            format!("{name} {id}").trim().to_owned()
        })
        .collect();
    let expected = [
        "developer",
        "user",
        "assistant",
        "function_call c1",
        "function_call c2",
        "function_call_output c1",
        "function_call_output c2",
        "function_call c3",
        "function_call_output c3",
    ];
    assert_eq!(
        kinds, expected,
        "after the restart only the reasoning items are missing"
    );
    let arguments = &sent(&model)[3]["arguments"];
    assert_eq!(
        arguments, "{\"city\": \"Oslo\"}",
        "arguments go back byte for byte"
    );
}

#[tokio::test]
async fn reasoning_returns_to_the_model_with_the_tool_outputs_of_the_same_client() {
    let (model, sidecar) = start().await;
    let rounds = json!([
        [{"reasoning": ["Two."], "encrypted_content": "gAAA"}, call("c1", "Oslo")],
        [{"text": "Cold."}],
    ]);
    let question = json!({"role": "user", "content": format!("Weather? [[model:{rounds}]]")});
    let tools = json!([tool("get_weather")]);
    let first = send(
        &sidecar,
        &json!({"model": "codex-5", "messages": [question], "tools": tools}),
    )
    .await;
    let response = first["choices"][0]["message"].clone();
    let result = json!({"role": "tool", "tool_call_id": "c1", "content": "-3"});
    let body =
        json!({"model": "codex-5", "messages": [question, response, result], "tools": tools});
    send(&sidecar, &body).await;
    let items = sent(&model);
    assert_eq!(items[1]["type"], "reasoning", "{items:?}");
    assert_eq!(items[1]["encrypted_content"], "gAAA");

    let mut connection = sidecar.connect().await;
    let request = tests::http::with(
        post("/v1/chat/completions", body.to_string()),
        "x-codex-edge-client",
        "another-client",
    );
    assert_eq!(connection.send(request).await.unwrap().status, 200);
    assert!(
        !sent(&model).iter().any(|item| item["type"] == "reasoning"),
        "reasoning is kept for the client of the call only"
    );
}

#[tokio::test]
async fn reasoning_content_of_an_answer_returns_its_reasoning_to_the_model() {
    let (model, sidecar) = start().await;
    let rounds = json!([
        [{"reasoning": ["One.", "Two."], "encrypted_content": "gAAA"}, {"text": "Cold. "}],
        [{"text": "Minus three."}],
    ]);
    let question = json!({"role": "user", "content": format!("Weather? [[model:{rounds}]]")});
    let body = |messages: &[&Value]| json!({"model": "codex-5", "messages": messages, "reasoning": {"summary": "auto"}});
    let first = send(&sidecar, &body(&[&question])).await;
    let answer = first["choices"][0]["message"].clone();
    assert_eq!(answer["reasoning_content"], "One.\n\nTwo.");
    let more = json!({"role": "user", "content": "How cold?"});
    let mut edited = answer.clone();
    edited["reasoning_content"] = json!("Three.");
    let mut trimmed = answer.clone();
    trimmed["content"] = json!("Cold.");
    for (answer, ignored) in [
        (&answer, ""),
        (&trimmed, ""),
        (&edited, "messages[].reasoning_content"),
    ] {
        let mut connection = sidecar.connect().await;
        let request = post(
            "/v1/chat/completions",
            body(&[&question, answer, &more]).to_string(),
        );
        let response = connection.send(request).await.unwrap();
        assert_eq!(response.status, 200);
        assert_eq!(response.header("x-codex-edge-ignored"), ignored);
        let items = sent(&model);
        let reasoning: Vec<_> = items
            .iter()
            .filter(|item| item["type"] == "reasoning")
            .collect();
        if ignored.is_empty() {
            assert_eq!(reasoning[0]["encrypted_content"], "gAAA", "{items:?}");
            assert_eq!(
                items[1]["type"], "reasoning",
                "before the answer: {items:?}"
            );
        } else {
            assert!(reasoning.is_empty(), "{items:?}");
        }
    }
}

#[tokio::test]
async fn reasoning_returns_with_a_body_of_responses_on_the_chat_route() {
    let (model, sidecar) = start().await;
    let rounds = json!([
        [{"reasoning": ["Two."], "encrypted_content": "gAAA"}, call("c1", "Oslo"), call("c2", "Rome")],
        [{"text": "Cold."}],
    ]);
    let question = json!({"role": "user", "content": format!("Weather? [[model:{rounds}]]")});
    let tools = json!([{"type": "function", "name": "get_weather"}]);
    let mut input = vec![question];
    let first = send(
        &sidecar,
        &json!({"model": "codex-5", "input": input, "tools": tools}),
    )
    .await;
    let message = &first["choices"][0]["message"];
    for call in message["tool_calls"].as_array().expect("calls") {
        let function = &call["function"];
        input.push(json!({"type": "function_call", "call_id": call["id"], "name": function["name"], "arguments": function["arguments"]}));
    }
    for id in ["c1", "c2"] {
        input.push(json!({"type": "function_call_output", "call_id": id, "output": "-3"}));
    }
    let body = json!({"model": "codex-5", "input": input, "tools": tools});
    send(&sidecar, &body).await;
    let kinds: Vec<_> = sent(&model)
        .iter()
        .map(|item| item["type"].as_str().unwrap_or("message").to_owned())
        .collect();
    assert_eq!(
        kinds[1..4],
        ["reasoning", "function_call", "function_call"],
        "{kinds:?}"
    );
    assert_eq!(sent(&model)[1]["encrypted_content"], "gAAA");
}

#[tokio::test]
async fn history_edited_by_the_client_reaches_the_model() {
    let (model, sidecar) = start().await;
    let edited = json!({"id": "mine", "type": "function", "function": {"name": "gone", "arguments": "{\"edited\": true}"}});
    let messages = json!([
        {"role": "user", "content": "First. [[model:{\"text\": \"x\"}]]"},
        {"role": "assistant", "content": "Made up.", "tool_calls": [edited]},
        {"role": "tool", "tool_call_id": "mine", "content": "Error: no such city"},
        {"role": "assistant", "content": "Sorry."},
        {"role": "user", "content": "Again. [[model:{\"text\": \"Done.\"}]]"},
    ]);
    let body = json!({"model": "codex-5", "messages": messages, "tools": [tool("get_weather")]});
    let response = send(&sidecar, &body).await;
    assert_eq!(response["choices"][0]["message"]["content"], "Done.");
    let items = sent(&model);
    assert_eq!(items.len(), 6, "{items:?}");
    assert_eq!(
        items[2]["name"], "gone",
        "a call of a tool that is no longer offered is kept"
    );
    assert_eq!(items[2]["arguments"], "{\"edited\": true}");
    assert_eq!(items[3]["output"], "Error: no such city");
}

#[tokio::test]
async fn stream_has_one_chunk_for_each_tool_call() {
    let (_model, sidecar) = start().await;
    let script = json!([{"text": "Let me see."}, call("c1", "Oslo"), {"call": "made_up", "call_id": "c2", "arguments": "{broken"}]);
    let more = json!({"stream": true, "tools": [tool("get_weather")], "stream_options": {"include_usage": true}});
    let mut client = sidecar.connect().await;
    let mut stream = Events::new(client.stream(chat(&script, &more)).await.unwrap());
    let events = stream.rest().await.unwrap();
    let (done, chunks) = events.split_last().unwrap();
    assert_eq!(done, "data: [DONE]");
    let chunks: Vec<Value> = chunks.iter().map(|chunk| tests::sse::json(chunk)).collect();
    let calls: Vec<_> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["delta"]["tool_calls"][0].as_object())
        .collect();
    assert_eq!(calls.len(), 2, "{chunks:?}");
    for (index, (call, (id, name, arguments))) in calls
        .iter()
        .zip([
            ("c1", "get_weather", "{\"city\": \"Oslo\"}"),
            ("c2", "made_up", "{broken"),
        ])
        .enumerate()
    {
        assert_eq!(call["index"], index);
        assert_eq!(call["id"], id);
        assert_eq!(call["type"], "function");
        assert_eq!(
            call["function"],
            json!({"name": name, "arguments": arguments})
        );
    }
    let finishes: Vec<_> = chunks
        .iter()
        .filter_map(|chunk| chunk["choices"][0]["finish_reason"].as_str())
        .collect();
    assert_eq!(finishes, ["tool_calls"], "one finish reason");
}

#[tokio::test]
async fn client_tools_may_have_names_of_codex_tools() {
    let (model, sidecar) = start().await;
    let long = format!("mcp__{}", "x".repeat(59));
    for name in [
        "exec_command",
        "shell_command",
        "apply_patch",
        "update_plan",
        "mcp",
        "mcp__x__y",
        "client_mcp__x__y",
        "local_shell",
        "tool_search",
        &long,
    ] {
        model.clear();
        let tools = json!({"tools": [tool(name)]});
        let echo = ask(&sidecar, json!({"echo": "tools"}), tools.clone())
            .await
            .json();
        let content = echo["choices"][0]["message"]["content"].as_str().unwrap();
        let offered: Value = serde_json::from_str(content).unwrap();
        let model_name = offered[0]["name"].as_str().expect("the tool is offered");
        assert!(model_name.len() <= 64, "{model_name}");
        let unsuffixed = model_name.strip_suffix('_').unwrap_or(model_name);
        assert!(
            unsuffixed.ends_with(name) || name.len() == 64,
            "{model_name}"
        );
        let called = ask(
            &sidecar,
            json!({"call": model_name, "call_id": "c1"}),
            tools,
        )
        .await
        .json();
        let call = &called["choices"][0]["message"]["tool_calls"][0];
        assert_eq!(call["function"]["name"], name);
        assert_eq!(
            model.requests().len(),
            2,
            "one model request for each HTTP request"
        );
    }
}

#[tokio::test]
async fn tool_choice_is_applied_or_the_request_fails() {
    let (model, sidecar) = start().await;
    let tools = json!([tool("get_weather"), tool("other")]);
    let text = json!({"text": "No call."});
    let offered = |model: &ScriptedModel| {
        let name = |tool: &Value| tool["name"].as_str().unwrap_or_default().to_owned();
        let requests = model.requests();
        let tools = requests.last().unwrap().offered_tools();
        tools.into_iter().map(name).collect::<Vec<_>>()
    };
    let none = ask(
        &sidecar,
        text.clone(),
        json!({"tools": tools, "tool_choice": "none"}),
    )
    .await;
    assert_eq!(none.status, 200, "{none:?}");
    assert_eq!(offered(&model), Vec::<String>::new());
    let named =
        json!({"tools": tools, "tool_choice": {"type": "function", "function": {"name": "other"}}});
    let missed = ask(&sidecar, text.clone(), named.clone()).await;
    assert_eq!(offered(&model), ["other"]);
    assert_eq!(missed.status, 502, "{missed:?}");
    assert!(
        missed.json()["error"]["message"]
            .as_str()
            .unwrap()
            .contains("tool_choice")
    );
    let hit = ask(&sidecar, json!({"call": "other", "call_id": "c1"}), named).await;
    assert_eq!(
        hit.json()["choices"][0]["finish_reason"],
        "tool_calls",
        "{hit:?}"
    );
    let single = ask(
        &sidecar,
        json!([call("c1", "Oslo"), call("c2", "Rome")]),
        json!({"tools": tools, "parallel_tool_calls": false}),
    )
    .await;
    let calls = &single.json()["choices"][0]["message"]["tool_calls"];
    assert_eq!(calls.as_array().map(Vec::len), Some(1), "{calls}");
}

#[tokio::test]
async fn two_hundred_tools_and_images_in_tool_results_reach_the_model() {
    const PIXEL: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";
    let (model, sidecar) = start().await;
    let tools: Vec<_> = (0..200)
        .map(|number| tool(&format!("tool_{number}")))
        .collect();
    let called =
        json!({"id": "c1", "type": "function", "function": {"name": "tool_7", "arguments": "{}"}});
    let image = json!({"type": "image_url", "image_url": {"url": PIXEL, "detail": "low"}});
    let messages = json!([
        {"role": "user", "content": "See. [[model:[[{\"text\": \"x\"}], [{\"text\": \"Seen.\"}]]]]"},
        {"role": "assistant", "content": null, "tool_calls": [called]},
        {"role": "tool", "tool_call_id": "c1", "content": [{"type": "text", "text": "a picture"}, image]},
    ]);
    let response = send(
        &sidecar,
        &json!({"model": "codex-5", "messages": messages, "tools": tools}),
    )
    .await;
    assert_eq!(response["choices"][0]["message"]["content"], "Seen.");
    let requests = model.requests();
    assert_eq!(requests[0].offered_tools().len(), 200);
    let items = sent(&model);
    let output = &items[2]["output"];
    assert_eq!(output[0]["text"], "a picture", "{items:?}");
    assert_eq!(output[1]["type"], "input_image");
}

#[tokio::test]
async fn json_schema_reaches_the_model_and_a_refusal_the_client() {
    let (model, sidecar) = start().await;
    let schema = json!({"type": "object", "properties": {"z": {"type": "string"}, "a": {"type": "string"}}, "required": ["z", "a"], "additionalProperties": false});
    let format = json!({"type": "json_schema", "json_schema": {"name": "pair", "strict": true, "schema": schema}});
    let response = ask(
        &sidecar,
        json!({"text": "{\"z\":\"1\",\"a\":\"2\"}"}),
        json!({"response_format": format}),
    )
    .await;
    assert_eq!(
        response.json()["choices"][0]["message"]["content"],
        "{\"z\":\"1\",\"a\":\"2\"}"
    );
    let sent = model.requests()[0].body["text"]["format"].clone();
    assert_eq!(sent["type"], "json_schema");
    let mut named = schema.clone();
    named["title"] = json!("pair");
    assert_eq!(sent["schema"], named, "Codex has no field for the name");
    let refusal = ask(
        &sidecar,
        json!({"refusal": "I will not."}),
        json!({"response_format": format}),
    )
    .await;
    let message = refusal.json()["choices"][0]["message"].clone();
    assert!(
        message["refusal"].as_str().unwrap().contains("refused"),
        "{message}"
    );
    assert_eq!(message["content"], Value::Null);
}

#[tokio::test]
async fn schema_outside_the_strict_rules_is_asked_for_in_words() {
    let (model, sidecar) = start().await;
    let schema = json!({"type": "object", "properties": {"a": {"type": "string", "minLength": 1}}});
    let format = json!({"type": "json_schema", "json_schema": {"name": "one", "schema": schema}});
    let body = json!({"response_format": format});
    let response = ask(&sidecar, json!({"text": "{\"a\":\"1\"}"}), body).await;
    assert_eq!(response.status, 200, "{response:?}");
    let sent = model.requests()[0].body.clone();
    // The provider would reject it: Codex sends every schema with `strict: true`.
    assert_eq!(sent["text"].get("format"), None, "{sent}");
    let conversation = self::sent(&model);
    let instruction = conversation.last().expect("the model received an item");
    assert_eq!(instruction["role"], "developer", "{instruction}");
    let text = instruction["content"][0]["text"]
        .as_str()
        .unwrap_or_default();
    assert!(text.ends_with(&schema.to_string()), "{text}");
}

#[tokio::test]
async fn stop_sequences_and_max_tokens_end_the_text_and_interrupt_the_turn() {
    let (model, sidecar) = start().await;
    for (fields, text, reason) in [
        (json!({"stop": ["END", "never"]}), "one two ", "stop"),
        (json!({"max_tokens": 1}), "one ", "length"),
    ] {
        let script = json!([{"text": "one two EN", "open": true, "delta_chars": 3}, {"text": "D three", "open": true}, {"hold": "for ever"}, {"text": "."}]);
        let response = ask(&sidecar, script, fields).await;
        let choice = response.json()["choices"][0].clone();
        assert_eq!(choice["message"]["content"], text);
        assert_eq!(choice["finish_reason"], reason);
    }
    assert!(
        model.wait_for_disconnects(2, SOON).await.is_ok(),
        "Codex drops both model requests"
    );
}

#[tokio::test]
async fn provider_failure_after_a_tool_call_is_an_error() {
    let (_model, sidecar) = start().await;
    let tools = json!({"tools": [tool("get_weather")]});
    for end in [json!({"cut": "abort"}), json!({"failed": "server_error"})] {
        let response = ask(&sidecar, json!([call("c1", "Oslo"), end]), tools.clone()).await;
        assert_error(&response, 502, "codex_failed");
    }
}

#[tokio::test]
async fn schemas_that_codex_cannot_parse_are_rejected_before_the_model_is_asked() {
    let (model, sidecar) = start().await;
    let deep = "[".repeat(120) + &"]".repeat(120);
    for (schema, code) in [
        (format!("{{\"a\":{deep}}}"), "invalid_request_error"),
        ("{\"a\":\"\\ud800\"}".to_owned(), "invalid_json"),
    ] {
        for field in [
            format!(r#""tools":[{{"name":"f","parameters":{schema}}}]"#),
            format!(
                r#""response_format":{{"type":"json_schema","json_schema":{{"name":"s","schema":{schema}}}}}"#
            ),
        ] {
            let body = format!(
                r#"{{"model":"codex-5","messages":[{{"role":"user","content":"x"}}],{field}}}"#
            );
            let mut client = sidecar.connect().await;
            let response = client.send(post("/v1/chat/completions", body)).await;
            assert_error(&response.expect("a response arrives"), 400, code);
        }
    }
    assert_eq!(model.requests().len(), 0);
}

#[tokio::test]
async fn call_with_the_namespace_of_the_offered_tools_reaches_the_client() {
    let (_model, sidecar) = start().await;
    let mut step = call("c1", "Oslo");
    // Codex offers the client's tools in this namespace to the models with `use_responses_lite`.
    step["namespace"] = json!("functions");
    let response = ask(&sidecar, step, json!({"tools": [tool("get_weather")]})).await;
    let called = &response.json()["choices"][0]["message"]["tool_calls"][0]["function"];
    assert_eq!(called["name"], "get_weather", "{response:?}");
}
