//! Rejected requests: status, code and `param` for invalid fields, unsupported values, methods and failed turns.
//! The statuses and codes are those of section 2 of the contract.

use serde_json::{Value, json};
use tests::http::{empty, get, post};

use super::client::{create, id, ok, play, respond, retrieve, send};
use crate::stack::{assert_error, start};

const PIXEL: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

#[tokio::test]
async fn invalid_requests_are_rejected_with_their_param() {
    let (model, sidecar) = start().await;
    let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
    let output = json!({"type": "function_call_output", "call_id": "c", "output": "x"});
    let part = |part: Value| json!([{"role": "user", "content": [part]}]);
    let tool = json!({"type": "function", "name": "f"});
    for (body, code, param) in [
        (json!({}), "invalid_request_error", "input"),
        (json!({"input": []}), "invalid_request_error", "input"),
        (json!({"input": 7}), "invalid_request_error", "input"),
        (
            json!({"input": "x", "model": null}),
            "invalid_request_error",
            "model",
        ),
        (
            json!({"input": [{"role": "king", "content": "x"}]}),
            "invalid_request_error",
            "input[0].role",
        ),
        (
            json!({"input": [{"role": "user"}]}),
            "invalid_request_error",
            "input[0].content",
        ),
        (
            json!({"input": [{"role": "assistant", "content": [{"type": "input_image", "image_url": PIXEL}]}]}),
            "invalid_request_error",
            "input[0].content[0]",
        ),
        (
            json!({"input": [{"type": "computer_call"}]}),
            "unsupported_value",
            "input[0].type",
        ),
        (
            json!({"input": part(json!({"type": "input_text"}))}),
            "invalid_request_error",
            "input[0].content[0].text",
        ),
        (
            json!({"input": part(json!({"type": "input_text", "text": 7}))}),
            "invalid_request_error",
            "input[0].content[0].text",
        ),
        (
            json!({"input": part(json!({"type": "input_file", "file_id": "f"}))}),
            "unsupported_value",
            "input[0].content[0].type",
        ),
        (
            json!({"input": part(json!({"type": "input_image", "image_url": "https://example.com/a.png"}))}),
            "unsupported_value",
            "input[0].content[0].image_url",
        ),
        (
            json!({"input": part(json!({"type": "input_image", "file_id": "f"}))}),
            "unsupported_value",
            "input[0].content[0].image_url",
        ),
        (
            json!({"input": [call]}),
            "invalid_request_error",
            "input[0].call_id",
        ),
        (
            json!({"input": [output]}),
            "invalid_request_error",
            "input[0].call_id",
        ),
        (
            json!({"input": [call, call, output, output]}),
            "invalid_request_error",
            "input[1].call_id",
        ),
        (
            json!({"input": [{"type": "function_call", "call_id": "c", "name": "f"}]}),
            "invalid_request_error",
            "input[0].arguments",
        ),
        (
            json!({"input": [{"type": "function_call", "call_id": "", "name": "f", "arguments": "{}"}]}),
            "invalid_request_error",
            "input[0].call_id",
        ),
        (
            json!({"input": [{"type": "function_call", "call_id": "c".repeat(65), "name": "f", "arguments": "{}"}]}),
            "invalid_request_error",
            "input[0].call_id",
        ),
        (
            json!({"input": [{"type": "function_call", "call_id": "c", "name": "f.g", "arguments": "{}"}]}),
            "invalid_request_error",
            "input[0].name",
        ),
        (
            json!({"input": part(json!({"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo="}))}),
            "unsupported_value",
            "input[0].content[0].image_url",
        ),
        (
            json!({"input": "x", "text": {"format": {"type": "json_schema", "name": "s", "schema": {"type": "object"}, "strict": true}}}),
            "invalid_request_error",
            "text.format.schema",
        ),
        (
            json!({"input": [{"type": "item_reference", "id": "msg_1"}]}),
            "invalid_request_error",
            "input[0].id",
        ),
        (
            json!({"input": "x", "previous_response_id": "resp_1"}),
            "previous_response_not_found",
            "previous_response_id",
        ),
        (
            json!({"input": "x", "tools": [{"type": "web_search"}]}),
            "unsupported_value",
            "tools[0].type",
        ),
        (
            json!({"input": "x", "tools": [{"type": "function"}]}),
            "invalid_request_error",
            "tools[0].name",
        ),
        (
            json!({"input": "x", "tools": [{"type": "function", "name": "a b"}]}),
            "invalid_request_error",
            "tools[0].name",
        ),
        (
            json!({"input": "x", "tool_choice": "required"}),
            "invalid_request_error",
            "tool_choice",
        ),
        (
            json!({"input": "x", "tool_choice": "maybe"}),
            "invalid_request_error",
            "tool_choice",
        ),
        (
            json!({"input": "x", "tools": [tool], "tool_choice": {"type": "function", "name": "g"}}),
            "invalid_request_error",
            "tool_choice",
        ),
        (
            json!({"input": "x", "tools": [tool], "tool_choice": {"type": "file_search"}}),
            "unsupported_value",
            "tool_choice",
        ),
        (
            json!({"input": "x", "tools": [tool], "tool_choice": {"type": "allowed_tools", "mode": "auto", "tools": [{"type": "function", "name": "g"}]}}),
            "invalid_request_error",
            "tool_choice.tools[0]",
        ),
        (
            json!({"input": "x", "include": ["file_search_call.results"]}),
            "unsupported_value",
            "include[0]",
        ),
        (
            json!({"input": "x", "text": {"format": {"type": "xml"}}}),
            "invalid_request_error",
            "text.format.type",
        ),
        (
            json!({"input": "x", "text": {"format": {"type": "json_schema", "name": "x"}}}),
            "invalid_request_error",
            "text.format",
        ),
        (
            json!({"input": "x", "text": {"format": {"type": "json_schema", "name": "a b", "schema": {}}}}),
            "invalid_request_error",
            "text.format.name",
        ),
        (
            json!({"input": "x", "text": {"verbosity": "loud"}}),
            "invalid_request_error",
            "text.verbosity",
        ),
        (
            json!({"input": "x", "reasoning": {"effort": "much"}}),
            "unsupported_value",
            "reasoning.effort",
        ),
        (
            json!({"input": "x", "reasoning": {"summary": "much"}}),
            "unsupported_value",
            "reasoning.summary",
        ),
        (
            json!({"input": "x", "temperature": 3}),
            "invalid_request_error",
            "temperature",
        ),
        (
            json!({"input": "x", "top_p": -1}),
            "invalid_request_error",
            "top_p",
        ),
        (
            json!({"input": "x", "top_logprobs": 2}),
            "unsupported_value",
            "top_logprobs",
        ),
        (
            json!({"input": "x", "max_output_tokens": 0}),
            "invalid_request_error",
            "max_output_tokens",
        ),
        (
            json!({"input": "x", "truncation": "middle"}),
            "invalid_request_error",
            "truncation",
        ),
        (
            json!({"input": "x", "metadata": {"a": 1}}),
            "invalid_request_error",
            "metadata.a",
        ),
        (
            json!({"input": "x", "prompt": {"id": "p"}}),
            "unsupported_value",
            "prompt",
        ),
        (
            json!({"input": "x", "conversation": "c"}),
            "unsupported_value",
            "conversation",
        ),
        (
            json!({"input": "x", "background": true, "store": false}),
            "invalid_request_error",
            "store",
        ),
    ] {
        let mut named = json!({"model": "codex-5"});
        named
            .as_object_mut()
            .unwrap()
            .extend(body.as_object().unwrap().clone());
        let http_response = send(&sidecar, post("/v1/responses", named.to_string())).await;
        assert_error(&http_response, 400, code);
        assert_eq!(
            http_response.json()["error"]["param"],
            param,
            "{body}: {http_response:?}"
        );
    }
    let unknown = create(json!({"input": "x", "model": "gpt-4"}));
    assert_error(&send(&sidecar, unknown).await, 404, "model_not_found");
    assert_eq!(
        model.requests().len(),
        0,
        "no request has reached the model"
    );
}

#[tokio::test]
async fn failed_turns_have_their_status_code_and_param() {
    let (_model, sidecar) = start().await;
    for (script, status, code, param) in [
        (
            json!({"failed": "context_length_exceeded"}),
            400,
            "context_length_exceeded",
            json!("input"),
        ),
        (
            json!([{"text": "par"}, {"cut": "abort"}]),
            502,
            "codex_failed",
            Value::Null,
        ),
    ] {
        let http_response = send(&sidecar, create(json!({"input": play(&script)}))).await;
        assert_error(&http_response, status, code);
        assert_eq!(
            http_response.json()["error"]["param"],
            param,
            "{http_response:?}"
        );
    }
}

#[tokio::test]
async fn paths_allow_their_methods() {
    let (_model, sidecar) = start().await;
    let response = respond(&sidecar, json!({"input": play(&json!({"text": "Hi."}))})).await;
    let path = format!("/v1/responses/{}", id(&response));
    let method = |name: &str| name.parse::<http::Method>().unwrap();
    for (verb, path, status) in [
        ("HEAD", "/v1/responses", 200),
        ("GET", "/v1/responses", 405),
        ("POST", &path, 405),
        ("HEAD", &path, 200),
        ("POST", &format!("{path}/input_items"), 405),
        ("GET", &format!("{path}/cancel"), 405),
        ("GET", &format!("{path}/other"), 404),
        ("POST", "/v1/responses/compact", 404),
    ] {
        let http_response = send(&sidecar, empty(method(verb), path)).await;
        assert_eq!(
            http_response.status, status,
            "{verb} {path}: {http_response:?}"
        );
        assert_eq!(http_response.header("allow").is_empty(), status != 405);
    }
    assert_error(
        &send(&sidecar, get(&format!("{path}?stream=true"))).await,
        400,
        "unsupported_value",
    );
    ok(&retrieve(&sidecar, id(&response)).await);
}
