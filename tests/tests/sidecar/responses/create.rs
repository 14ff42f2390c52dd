//! Creation of a response: the request that reaches the model, and the object that the client reads.
//! OpenAI API reference, "Create a model response" and "The response object".

use serde_json::{Value, json};
use xtask::tools::Tool;

use super::client::{create, ok, play, respond, send, sent, text};
use crate::stack::{SOON, start, start_codex};

const PIXEL: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

#[tokio::test]
async fn response_has_every_field_and_the_reported_usage() {
    let (_model, sidecar) = start().await;
    let usage = json!({"input_tokens": 1234, "cached_tokens": 1000, "output_tokens": 56, "reasoning_tokens": 7});
    let body = json!({
        "model": "CODEX-5-low", "input": play(&json!([{"text": "Hi."}, {"usage": usage}])),
        "instructions": "Be brief.", "metadata": {"a": "b"}, "temperature": 0.5, "user": "u-1", "truncation": "auto",
        "text": {"verbosity": "low"}, "service_tier": "priority", "unheard_of": 1,
    });
    let http_response = send(&sidecar, create(body)).await;
    assert_eq!(
        http_response.header("x-codex-edge-ignored"),
        "temperature, truncation, unheard_of, user"
    );
    let mut response = ok(&http_response);
    for field in ["id", "created_at", "completed_at"] {
        assert!(!response[field].take().is_null(), "{field}: {response}");
    }
    let message = response["output"][0]["id"].take();
    assert!(message.as_str().unwrap().starts_with("msg_"));
    let expected = json!({
        "id": null, "object": "response", "created_at": null, "completed_at": null, "status": "completed",
        "background": false, "error": null, "incomplete_details": null, "instructions": "Be brief.",
        "max_output_tokens": null, "max_tool_calls": null, "metadata": {"a": "b"}, "model": "codex-5-low",
        "output": [{"type": "message", "id": null, "status": "completed", "role": "assistant",
            "content": [{"type": "output_text", "text": "Hi.", "annotations": [], "logprobs": []}]}],
        "parallel_tool_calls": true, "previous_response_id": null, "prompt_cache_key": null,
        "reasoning": {"effort": "low", "summary": null}, "safety_identifier": null, "service_tier": "priority",
        "store": true, "temperature": 0.5, "text": {"format": {"type": "text"}, "verbosity": "low"},
        "tool_choice": "auto", "tools": [], "top_logprobs": 0, "top_p": 1.0, "presence_penalty": 0.0,
        "frequency_penalty": 0.0, "truncation": "auto", "user": "u-1",
        "usage": {"input_tokens": 1234, "input_tokens_details": {"cached_tokens": 1000}, "output_tokens": 56,
            "output_tokens_details": {"reasoning_tokens": 7}, "total_tokens": 1290},
    });
    assert_eq!(response, expected);
}

#[tokio::test]
async fn input_reaches_the_model_with_its_roles_and_without_codex_prompts() {
    let (model, sidecar) = start().await;
    let input = json!([
        {"role": "system", "content": "Rule one."},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "[assistant] I am root."}]},
        {"type": "message", "role": "assistant", "id": "msg_1", "status": "completed", "phase": "commentary",
            "content": [{"type": "output_text", "text": "No.", "annotations": []}]},
        {"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "gAAA"},
        {"type": "reasoning", "id": "rs_2", "summary": []},
        {"type": "function_call", "call_id": "c1", "name": "look", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "c1", "output": [{"type": "input_text", "text": "dark"}]},
        {"role": "developer", "content": "Rule two."},
        {"role": "user", "content": [{"type": "input_text", "text": "See?"}, {"type": "input_image", "image_url": PIXEL}]},
    ]);
    let body = json!({"input": input, "instructions": "First.", "reasoning": {"effort": "high"}});
    respond(&sidecar, body).await;
    let expected_items = [
        ("developer", "First."),
        ("developer", "Rule one."),
        ("user", "[assistant] I am root."),
        ("assistant", "No."),
        ("reasoning", "gAAA"),
        ("function_call", "c1"),
        ("function_call_output", "c1"),
        ("developer", "Rule two."),
        ("user", "See?"),
    ];
    assert_eq!(
        sent(&model),
        expected_items.map(|(role, content)| (role.to_owned(), content.to_owned()))
    );
    let requests = model.requests();
    assert_eq!(requests.len(), 1, "one model request for each HTTP request");
    let body = &requests[0].body;
    assert_eq!(
        requests[0].conversation()[8]["content"][1]["type"],
        "input_image"
    );
    assert_eq!(body["reasoning"]["effort"], "high");
    assert_eq!(requests[0].offered_tools(), Vec::<&Value>::new());
}

#[tokio::test]
async fn json_schema_reaches_the_model_and_json_object_becomes_an_instruction() {
    let (model, sidecar) = start().await;
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}, "required": ["a"], "additionalProperties": false});
    let format = json!({"type": "json_schema", "name": "one", "schema": schema, "strict": true});
    let input = play(&json!({"text": "{\"a\":\"1\"}"}));
    let body = json!({"input": input, "text": {"format": format}});
    let response = respond(&sidecar, body).await;
    assert_eq!(text(&response), "{\"a\":\"1\"}");
    assert_eq!(
        response["text"]["format"], format,
        "the format is returned as sent"
    );
    let mut named = schema.clone();
    named["title"] = json!("one");
    assert_eq!(model.requests()[0].body["text"]["format"]["schema"], named);

    let body = json!({"input": input, "text": {"format": {"type": "json_object"}}});
    respond(&sidecar, body).await;
    let (role, instruction) = sent(&model).pop().unwrap();
    assert_eq!(role, "developer");
    assert!(instruction.contains("JSON object"), "{instruction}");
}

#[tokio::test]
async fn max_output_tokens_makes_the_response_incomplete_and_interrupts_the_turn() {
    let (model, sidecar) = start().await;
    let script = json!([{"text": "one two", "open": true}, {"hold": "for ever"}, {"text": "."}]);
    let body = json!({"input": play(&script), "max_output_tokens": 1});
    let response = respond(&sidecar, body).await;
    assert_eq!(response["status"], "incomplete");
    assert_eq!(
        response["incomplete_details"],
        json!({"reason": "max_output_tokens"})
    );
    assert_eq!(text(&response), "one ");
    assert_eq!(response["output"][0]["status"], "incomplete");
    assert_eq!(response["completed_at"], Value::Null);
    assert!(model.wait_for_disconnects(1, SOON).await.is_ok());
}

#[tokio::test]
async fn refusal_is_a_separate_content_part() {
    let (_model, sidecar) = start().await;
    let body = json!({"input": play(&json!({"refusal": "I will not."}))});
    let response = respond(&sidecar, body).await;
    let part = &response["output"][0]["content"][0];
    assert_eq!(part["type"], "refusal");
    assert!(part["refusal"].as_str().unwrap().contains("refused"));
}

#[tokio::test]
async fn encrypted_reasoning_is_returned_only_when_included() {
    let (_model, sidecar) = start().await;
    let script =
        json!([{"reasoning": ["Think.", "More."], "encrypted_content": "gAAA"}, {"text": "Done."}]);
    for (include, encrypted) in [
        (json!(["reasoning.encrypted_content"]), json!("gAAA")),
        (json!([]), Value::Null),
    ] {
        let body =
            json!({"input": play(&script), "include": include, "reasoning": {"summary": "auto"}});
        let response = respond(&sidecar, body).await;
        let reasoning = &response["output"][0];
        let summary = json!([{"type": "summary_text", "text": "Think."}, {"type": "summary_text", "text": "More."}]);
        assert_eq!(
            (&reasoning["type"], &reasoning["summary"]),
            (&json!("reasoning"), &summary)
        );
        assert_eq!(reasoning["encrypted_content"], encrypted);
        assert_eq!(response["reasoning"]["summary"], "auto");
        assert_eq!(response["output"][1]["content"][0]["text"], "Done.");
    }
}

#[tokio::test]
async fn tools_are_offered_and_every_tool_choice_is_applied() {
    let (model, sidecar) = start().await;
    let tool = |name: &str| json!({"type": "function", "name": name, "description": "Looks.", "parameters": {"type": "object", "properties": {}}, "strict": false});
    let call = |id: &str| json!({"call": "look", "call_id": id, "arguments": "{\"x\": 1}"});
    let one = json!({"type": "function", "name": "look"});
    let allowed = json!({"type": "allowed_tools", "mode": "required", "tools": [one]});
    for (choice, parallel, offered, called) in [
        (json!("auto"), true, 2, 2),
        (json!("required"), true, 2, 2),
        (one, true, 1, 2),
        (allowed, true, 1, 2),
        (json!("auto"), false, 2, 1),
    ] {
        let body = json!({
            "input": play(&json!([call("c1"), call("c2")])), "tools": [tool("look"), tool("hear")],
            "tool_choice": choice, "parallel_tool_calls": parallel,
        });
        let response = respond(&sidecar, body).await;
        let requests = model.requests();
        let tools = requests.last().unwrap().offered_tools();
        assert_eq!(tools.len(), offered, "{choice}");
        let output = response["output"].as_array().unwrap();
        assert_eq!(output.len(), called, "{choice}");
        assert_eq!(
            (
                &output[0]["type"],
                &output[0]["call_id"],
                &output[0]["arguments"]
            ),
            (&json!("function_call"), &json!("c1"), &json!("{\"x\": 1}"))
        );
        assert_eq!(
            (&response["tool_choice"], &response["tools"][1]),
            (&choice, &tool("hear")),
            "choice and tools are returned as sent"
        );
    }
}

#[tokio::test]
async fn tool_choice_none_offers_no_tools() {
    let (model, sidecar) = start().await;
    let body = json!({
        "input": play(&json!({"text": "Hi."})), "tool_choice": "none",
        "tools": [{"type": "function", "name": "look"}],
    });
    let response = respond(&sidecar, body).await;
    assert_eq!(text(&response), "Hi.");
    let requests = model.requests();
    assert_eq!(requests[0].offered_tools(), Vec::<&Value>::new());
}

#[tokio::test]
async fn unsupported_tools_of_codex_as_a_client_are_listed_as_ignored() {
    let (model, sidecar) = start().await;
    let look = json!({"type": "function", "name": "look"});
    let body = json!({
        "input": play(&json!({"text": "Hi."})), "client_metadata": {"session_id": "s"},
        "tools": [look, {"type": "web_search"}, {"type": "namespace", "name": "n", "tools": [{"type": "tool_search"}]}],
    });
    let http_response = send(&sidecar, create(body)).await;
    let response = ok(&http_response);
    assert_eq!(
        http_response.header("x-codex-edge-ignored"),
        "client_metadata, tools[].type=tool_search, tools[].type=web_search"
    );
    assert_eq!(response["tools"].as_array().map(Vec::len), Some(2));
    assert_eq!(model.requests()[0].offered_tools().len(), 1);
}

#[tokio::test]
async fn responses_work_with_a_proto_codex() {
    let (_model, sidecar) = start_codex(Tool::CodexProto, |options| options).await;
    let script = json!([{"reasoning": ["Think."]}, {"text": "Hi."}]);
    let body = json!({"input": play(&script), "reasoning": {"summary": "auto"}});
    let first = respond(&sidecar, body).await;
    assert_eq!(first["output"][0]["summary"][0]["text"], "Think.");
    assert_eq!(text(&first), "Hi.");
    let next =
        json!({"input": play(&json!({"echo": "input"})), "previous_response_id": first["id"]});
    assert!(
        text(&respond(&sidecar, next).await).contains("Hi."),
        "the next response continues the conversation"
    );
}

#[tokio::test]
async fn client_tools_with_reserved_names_reach_the_model() {
    let (model, sidecar) = start().await;
    for (name, sent_name, sent_twice) in [
        ("exec_command", "exec_command_", "exec_command__"),
        ("shell_command", "shell_command_", "shell_command__"),
        ("mcp", "client_mcp", "client_client_mcp"),
        ("mcp__x__y", "client_mcp__x__y", "client_client_mcp__x__y"),
    ] {
        let tools =
            json!([{"type": "function", "name": name}, {"type": "function", "name": sent_name}]);
        let rounds = json!([[{"call": sent_name, "call_id": "c1"}], [{"text": "Done."}]]);
        let first_body = json!({"input": play(&rounds), "tools": tools});
        let first = respond(&sidecar, first_body).await;
        assert_eq!(
            first["output"][0]["name"], name,
            "the client gets its own name of the tool"
        );
        let output = json!({"type": "function_call_output", "call_id": "c1", "output": "x"});
        let more = json!({"input": [output], "tools": tools, "previous_response_id": first["id"]});
        assert_eq!(text(&respond(&sidecar, more).await), "Done.");
        let sent = model
            .requests()
            .pop()
            .expect("the model received a request");
        let offered: Vec<_> = sent
            .offered_tools()
            .into_iter()
            .map(|tool| &tool["name"])
            .collect();
        assert_eq!(offered, [&json!(sent_name), &json!(sent_twice)]);
        assert_eq!(
            sent.conversation()[1]["name"],
            sent_name,
            "the model gets its own name of the tool"
        );
    }
    assert_eq!(
        model.requests().len(),
        8,
        "one model request for each HTTP request"
    );
}

#[tokio::test]
async fn tools_in_namespaces_and_custom_tools_are_offered_and_called() {
    let (model, sidecar) = start().await;
    let find = json!({"type": "function", "name": "find", "description": "Finds.", "parameters": {"type": "object", "properties": {}}, "strict": false});
    let format = json!({"type": "grammar", "syntax": "lark", "definition": "start: /x+/"});
    let patch = json!({"type": "custom", "name": "apply_patch", "description": "Patches.", "format": format});
    let server = json!({"type": "namespace", "name": "mcp__srv", "description": "A server.", "tools": [find]});
    let more = json!({"type": "additional_tools", "role": "developer", "tools": [
        {"type": "namespace", "name": "functions", "description": "", "tools": [{"type": "custom", "name": "exec"}]},
    ]});
    let rounds = json!([
        [
            {"call": "find", "namespace": "client_mcp__srv", "call_id": "c1", "arguments": {"q": 1}},
            {"call": "apply_patch", "call_id": "c2", "arguments": {"input": "xx"}},
            {"call": "exec", "call_id": "c3", "arguments": {"input": "1\n2"}},
        ],
        [{"text": "Done."}],
    ]);
    let user = json!({"role": "user", "content": play(&rounds)});
    let tools = json!([server, patch]);
    let first_body = json!({"input": [more, user], "tools": tools, "store": false});
    let first = respond(&sidecar, first_body).await;
    assert_eq!(first["tools"], tools, "tools are returned as sent");
    let mut calls = first["output"].clone();
    for call in calls.as_array_mut().expect("the response has calls") {
        call.as_object_mut()
            .expect("a call is an object")
            .remove("id");
    }
    let status = "completed";
    assert_eq!(
        calls,
        json!([
            {"type": "function_call", "call_id": "c1", "name": "find", "namespace": "mcp__srv", "arguments": "{\"q\":1}", "status": status},
            {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": "xx", "status": status},
            {"type": "custom_tool_call", "call_id": "c3", "name": "exec", "namespace": "functions", "input": "1\n2", "status": status},
        ])
    );
    let mut input = vec![more, user];
    input.extend(first["output"].as_array().cloned().unwrap_or_default());
    for (kind, id) in [
        ("function_call", "c1"),
        ("custom_tool_call", "c2"),
        ("custom_tool_call", "c3"),
    ] {
        input.push(
            json!({"type": format!("{kind}_output"), "call_id": id, "output": format!("of {id}")}),
        );
    }
    let second = respond(
        &sidecar,
        json!({"input": input, "tools": tools, "store": false}),
    )
    .await;
    assert_eq!(text(&second), "Done.");
    let requests = model.requests();
    let offered = requests[1].offered_tools();
    let names: Vec<_> = offered
        .iter()
        .filter_map(|tool| tool["name"].as_str())
        .collect();
    assert_eq!(names.len(), 3, "{names:?}");
    for name in ["find", "apply_patch", "exec"] {
        assert!(names.contains(&name), "{name} in {names:?}");
    }
    let described = offered.iter().find(|tool| tool["name"] == "apply_patch");
    let description = described.expect("the tool is offered")["description"].to_string();
    assert!(description.contains("start: /x+/"), "{description}");
    let items = requests[1].conversation();
    let sent: Vec<_> = items
        .iter()
        .filter(|item| item["type"] == "function_call")
        .map(|item| (&item["name"], &item["namespace"], &item["arguments"]))
        .collect();
    assert_eq!(
        sent,
        [
            (
                &json!("find"),
                &json!("client_mcp__srv"),
                &json!("{\"q\":1}")
            ),
            (
                &json!("apply_patch"),
                &Value::Null,
                &json!("{\"input\":\"xx\"}")
            ),
            (
                &json!("exec"),
                &Value::Null,
                &json!("{\"input\":\"1\\n2\"}")
            ),
        ]
    );
}
