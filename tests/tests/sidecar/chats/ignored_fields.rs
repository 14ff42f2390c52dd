//! `x-codex-edge-ignored`: fields without effect at any depth, in every API; and output formats that are not strict.

use serde_json::{Value, json};
use tests::http::{BufferedResponse, post};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::Sidecar;

use crate::stack::{assert_error, start};

async fn send(sidecar: &Sidecar, path: &str, body: &Value) -> BufferedResponse {
    let mut client = sidecar.connect().await;
    let request = post(path, body.to_string());
    client.send(request).await.expect("a response arrives")
}

fn ignored(response: &BufferedResponse) -> Vec<&str> {
    assert_eq!(response.status, 200, "{response:?}");
    match response.headers.get("x-codex-edge-ignored") {
        Some(list) => {
            let text = list.to_str().expect("the list is visible ASCII");
            text.split(", ").collect()
        }
        None => Vec::new(),
    }
}

const CHAT: &str = "/v1/chat/completions";
const RESPONSES: &str = "/v1/responses";

#[tokio::test]
async fn field_without_effect_is_named_at_any_depth() {
    let (_model, sidecar) = start().await;
    let user = json!({"role": "user", "content": "hi"});
    let chat = |assistant: Value| {
        let mut message = json!({"role": "assistant", "content": "b"});
        for (name, value) in assistant.as_object().expect("fields") {
            message[name] = value.clone();
        }
        (CHAT, json!({"messages": [user, message, user]}))
    };
    let with = |path: &'static str, fields: Value| {
        let mut body = match path {
            CHAT => json!({"messages": [user]}),
            _ => json!({"input": "hi"}),
        };
        for (name, value) in fields.as_object().expect("fields") {
            body[name] = value.clone();
        }
        (path, body)
    };
    let part = json!({"type": "text", "text": "x", "cache_control": {"type": "ephemeral"}});
    let function = json!({"name": "f", "parameters": {"type": "object", "x": 1}, "examples": []});
    let item = json!({"type": "message", "role": "user", "content": "x", "trace": 1, "status": "incomplete"});
    for ((path, mut body), expected) in [
        (
            chat(json!({"audio": {"id": "a"}, "content": null})),
            vec!["messages[].audio"],
        ),
        (
            chat(json!({"reasoning_content": "x"})),
            vec!["messages[].reasoning_content"],
        ),
        (
            chat(json!({"reasoning_details": [{}]})),
            vec!["messages[].reasoning_details"],
        ),
        (
            with(
                CHAT,
                json!({"messages": [{"role": "user", "content": "x", "tool_call_id": "c", "refusal": "no", "tool_calls": [{"id": "c"}]}]}),
            ),
            vec![
                "messages[].refusal",
                "messages[].tool_call_id",
                "messages[].tool_calls",
            ],
        ),
        (
            with(
                CHAT,
                json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "x", "image_url": "y"}]}]}),
            ),
            vec!["messages[].content[].image_url"],
        ),
        (
            with(
                CHAT,
                json!({"tools": [{"type": "function", "function": {"name": "f"}, "name": "g", "strict": true}]}),
            ),
            vec!["tools[].name", "tools[].strict"],
        ),
        (
            with(
                RESPONSES,
                json!({"input": [{"role": "user", "content": [{"type": "input_text", "text": "x", "detail": "low"}], "arguments": "{}"}]}),
            ),
            vec!["input[].arguments", "input[].content[].detail"],
        ),
        (
            with(
                RESPONSES,
                json!({"tools": [{"type": "custom", "name": "f", "parameters": {}}]}),
            ),
            vec!["tools[].parameters"],
        ),
        (
            chat(json!({"audio": null, "annotations": [], "parsed": null, "refusal": null})),
            vec![],
        ),
        (
            with(
                CHAT,
                json!({"reasoning": {"effort": "low", "max_tokens": 9}}),
            ),
            vec!["reasoning.max_tokens"],
        ),
        (
            with(
                CHAT,
                json!({"tools": [{"name": "f", "input_schema": {}, "defer_loading": true}]}),
            ),
            vec!["tools[].defer_loading", "tools[].input_schema"],
        ),
        (
            with(CHAT, json!({"tools": [{"function": function}]})),
            vec!["tools[].function.examples"],
        ),
        (
            with(
                CHAT,
                json!({"messages": [{"role": "user", "content": [part]}]}),
            ),
            vec!["messages[].content[].cache_control"],
        ),
        (
            with(CHAT, json!({"gr\u{f6}\u{df}e": 1, "my field": 2})),
            vec!["gr%C3%B6%C3%9Fe", "my%20field"],
        ),
        (
            with(RESPONSES, json!({"input": [item]})),
            vec!["input[].status", "input[].trace"],
        ),
        (
            with(
                RESPONSES,
                json!({"tools": [{"type": "function", "name": "f", "defer_loading": true}]}),
            ),
            vec!["tools[].defer_loading"],
        ),
        (
            with(RESPONSES, json!({"reasoning": {"max_tokens": 9}})),
            vec!["reasoning.max_tokens"],
        ),
        (
            with(
                RESPONSES,
                json!({"text": {"format": {"type": "text", "x": 1}}}),
            ),
            vec!["text.format.x"],
        ),
        (
            (
                "/v1/completions",
                json!({"prompt": "x", "stream_options": {"x": 1}}),
            ),
            vec!["stream_options.x"],
        ),
    ] {
        body["model"] = json!("codex-5");
        assert_eq!(
            ignored(&send(&sidecar, path, &body).await),
            expected,
            "{body}"
        );
    }
    let mut many = json!({"model": "codex-5", "messages": [user]});
    for number in 0..40 {
        many[format!("f{number:02}")] = json!(1);
    }
    let response = send(&sidecar, CHAT, &many).await;
    assert_eq!(
        ignored(&response).last(),
        Some(&"and more"),
        "a long list says that it is cut"
    );
}

#[tokio::test]
async fn allowed_tools_of_a_chat_restrict_the_offered_tools() {
    let (model, sidecar) = start().await;
    let named = |name: &str| json!({"type": "function", "function": {"name": name}});
    let body = |mode: &str, allowed: &str| {
        json!({
            "model": "codex-5",
            "messages": [{"role": "user", "content": "hi"}],
            "tools": [named("a"), named("b")],
            "tool_choice": {"type": "allowed_tools", "allowed_tools": {"mode": mode, "tools": [named(allowed)]}},
        })
    };
    let response = send(&sidecar, CHAT, &body("auto", "b")).await;
    assert_eq!(response.status, 200, "{response:?}");
    let requests = model.requests();
    let tools = requests[0].offered_tools();
    assert_eq!((tools.len(), &tools[0]["name"]), (1, &json!("b")));
    for (mode, allowed, param) in [
        ("auto", "c", "tool_choice.allowed_tools.tools[0]"),
        ("some", "a", "tool_choice.allowed_tools.mode"),
    ] {
        let response = send(&sidecar, CHAT, &body(mode, allowed)).await;
        assert_error(&response, 400, "invalid_request_error");
        assert_eq!(response.json()["error"]["param"], param);
    }
}

/// The last message and the output schema of the last model request.
fn last_request(model: &ScriptedModel) -> (String, Value) {
    let requests = model.requests();
    let body = &requests.last().expect("the model was asked").body;
    let input = body["input"].as_array().expect("the input is a list");
    let last = input.last().expect("the input has an item");
    let text = last["content"][0]["text"].as_str().unwrap_or_default();
    (text.to_owned(), body["text"]["format"]["schema"].clone())
}

#[tokio::test]
async fn schema_with_optional_properties_is_an_instruction_and_is_named() {
    let (model, sidecar) = start().await;
    let schema = json!({"type": "object", "properties": {"a": {"type": "string"}}});
    let chat = |format: Value| {
        let messages = json!([{"role": "user", "content": "hi"}]);
        (
            CHAT,
            json!({"messages": messages, "response_format": format}),
        )
    };
    let of_chat = |strict: Value| {
        let format = json!({"name": "person", "description": "Whom it is about.", "strict": strict, "schema": schema});
        chat(json!({"type": "json_schema", "json_schema": format}))
    };
    let of_response = |strict: Value| {
        let format = json!({"type": "json_schema", "name": "person", "description": "Whom it is about.", "strict": strict, "schema": schema});
        (
            RESPONSES,
            json!({"input": "hi", "text": {"format": format}}),
        )
    };
    for ((path, mut body), param) in [
        (
            of_chat(json!(false)),
            "response_format.json_schema.schema=instruction",
        ),
        (
            of_chat(Value::Null),
            "response_format.json_schema.schema=instruction",
        ),
        (of_response(json!(false)), "text.format.schema=instruction"),
        (of_response(Value::Null), "text.format.schema=instruction"),
        (
            chat(json!({"type": "json_object", "schema": schema})),
            "response_format.schema=instruction",
        ),
    ] {
        body["model"] = json!("codex-5");
        assert_eq!(
            ignored(&send(&sidecar, path, &body).await),
            [param],
            "{body}"
        );
        let (text, sent) = last_request(&model);
        assert_eq!(sent, Value::Null, "{body}");
        assert!(text.contains(&schema.to_string()), "{text}");
        let has_name = text.contains("`person`") && text.contains("Whom it is about.");
        assert_eq!(
            has_name,
            param != "response_format.schema=instruction",
            "{text}"
        );
    }
    for (path, mut body) in [of_chat(json!(true)), of_response(json!(true))] {
        body["model"] = json!("codex-5");
        let before = model.requests().len();
        let response = send(&sidecar, path, &body).await;
        assert_error(&response, 400, "invalid_request_error");
        let message = response.json()["error"]["message"].to_string();
        assert!(message.contains("`additionalProperties`"), "{message}");
        assert_eq!(model.requests().len(), before);
    }
    let closed = json!({
        "type": "object", "properties": {"a": {"type": "string"}},
        "required": ["a"], "additionalProperties": false,
    });
    for strict in [json!(true), Value::Null] {
        let format = json!({"name": "person", "description": "Whom it is about.", "strict": strict, "schema": closed});
        let (path, mut body) = chat(json!({"type": "json_schema", "json_schema": format}));
        body["model"] = json!("codex-5");
        let response = send(&sidecar, path, &body).await;
        let (_text, sent) = last_request(&model);
        assert_eq!(sent["properties"], closed["properties"], "{response:?}");
        assert_eq!(
            (&sent["title"], &sent["description"]),
            (&json!("person"), &json!("Whom it is about."))
        );
    }
}
