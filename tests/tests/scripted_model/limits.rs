//! Requests outside the limits of the Responses API: each gets the error that the service sends, before any script.
//! Texts, codes and paths are those of public reports of such errors.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tests::http::{empty, post};
use tests::scripted_model::ScriptedModel;

use crate::{MODEL, body, connect, script, send, start, text};

/// A PNG of one pixel.
const PIXEL: &str = "data:image/png;base64,iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// The request for `Hello` with another value at a JSON pointer.
fn with(pointer: &str, value: Value) -> Value {
    let mut body = body("Hello");
    let (parent, name) = pointer.rsplit_once('/').expect("a JSON pointer");
    body.pointer_mut(parent).expect("the parent is there")[name] = value;
    body
}

/// The request with these items as its input.
fn with_input(items: Value) -> Value {
    with("/input", items)
}

/// The request with one function tool.
fn with_tool(name: &str, parameters: &Value, strict: bool) -> Value {
    let tool =
        json!({"type": "function", "name": name, "parameters": parameters, "strict": strict});
    with("/tools", json!([tool]))
}

/// The request with a strict output schema.
fn with_schema(schema: &Value) -> Value {
    let format = json!({"type": "json_schema", "name": "answer", "schema": schema, "strict": true});
    with("/text", json!({"format": format}))
}

/// Asserts the error of each request: its code, its `param` and a part of its message.
async fn assert_rejected(model: &ScriptedModel, cases: &[(Value, Value, &str, &str)]) {
    for (body, code, param, part) in cases {
        let response = send(model, body).await;
        assert_eq!(response.status, StatusCode::BAD_REQUEST, "{body}");
        let error = &response.json()["error"];
        assert_eq!(error["type"], "invalid_request_error", "{error}");
        assert_eq!(&error["code"], code, "{error}");
        assert_eq!(
            error["param"].as_str().unwrap_or_default(),
            *param,
            "{error}"
        );
        let message = error["message"].as_str().unwrap_or_default();
        assert!(message.contains(part), "{message}");
    }
}

/// Asserts that each request gets a response of the model.
async fn assert_accepted(model: &ScriptedModel, bodies: &[Value]) {
    model.set_default(Some(script(json!({"text": "Hello"}))));
    for body in bodies {
        let response = send(model, body).await;
        assert_eq!(response.status, StatusCode::OK, "{body}: {response:?}");
    }
}

#[tokio::test]
async fn unserved_model_and_unlisted_effort_are_rejected_before_a_script_is_used() {
    let model = start().await;
    model.enqueue(script(json!({"text": "still there"})));
    let effort = |effort: &str| with("/reasoning", json!({"effort": effort}));
    assert_rejected(
        &model,
        &[
            (
                with("/model", json!("gpt-4")),
                Value::Null,
                "",
                "The 'gpt-4' model is not supported when using Codex with a ChatGPT account.",
            ),
            (
                effort("xhigh"),
                json!("unsupported_value"),
                "reasoning.effort",
                "Unsupported value: 'xhigh' is not supported with the 'gpt-5' model. Supported values are: 'low', 'medium', and 'high'.",
            ),
        ],
    )
    .await;
    assert_eq!(text(&send(&model, &effort("high")).await), "still there");
}

#[tokio::test]
async fn retired_models_are_rejected_until_they_are_served_again() {
    let model = start().await;
    let mini = with("/model", json!("gpt-5-mini"));
    model.set_default(Some(script(json!({"text": "Hello"}))));
    let is_served = async |body: &Value| send(&model, body).await.status == StatusCode::OK;
    model.serve_only("gpt-5-mini");
    assert!(is_served(&mini).await);
    assert!(!is_served(&body("Hello")).await);

    let mut client = connect(&model).await;
    let only = format!("/__control/only/{MODEL}");
    client.send(post(&only, "")).await.expect("a response");
    assert!(!is_served(&mini).await);
    assert!(is_served(&body("Hello")).await);
    let all = empty(Method::DELETE, "/__control/only");
    client.send(all).await.expect("a response");
    assert!(is_served(&mini).await);
}

#[tokio::test]
async fn missing_fields_and_wrong_types_are_rejected_with_their_path() {
    let model = start().await;
    let missing = || json!("missing_required_parameter");
    let wrong_type = || json!("invalid_type");
    let wrong_value = || json!("invalid_value");
    let message = |content: Value| {
        with_input(json!([{"type": "message", "role": "user", "content": content}]))
    };
    assert_rejected(
        &model,
        &[
            (
                with("/model", Value::Null),
                missing(),
                "model",
                "Missing required parameter: 'model'.",
            ),
            (
                with("/model", json!(5)),
                wrong_type(),
                "model",
                "expected a string, but got a number",
            ),
            (
                with("/input", Value::Null),
                missing(),
                "input",
                "Missing required",
            ),
            (
                with("/input", json!(true)),
                wrong_type(),
                "input",
                "an array of objects or string",
            ),
            (
                with("/stream", json!(false)),
                Value::Null,
                "stream",
                "Only `stream: true`",
            ),
            (
                with_input(json!([{"role": "tool", "content": "x"}])),
                wrong_value(),
                "input[0].role",
                "Supported values are: 'assistant', 'system', 'developer', and 'user'.",
            ),
            (
                with_input(json!([{"type": "speech"}])),
                wrong_value(),
                "input[0].type",
                "'speech'",
            ),
            (
                with_input(json!([{"role": "user"}])),
                missing(),
                "input[0].content",
                "",
            ),
            (
                message(json!([{"type": "text", "text": "x"}])),
                wrong_value(),
                "input[0].content[0].type",
                "'text'",
            ),
            (
                message(json!([{"type": "output_text", "text": "x"}])),
                wrong_value(),
                "input[0].content[0].type",
                "",
            ),
            (
                message(json!([{"type": "input_text"}])),
                missing(),
                "input[0].content[0].text",
                "",
            ),
            (
                with_input(json!([{"type": "function_call", "name": "f"}])),
                missing(),
                "input[0].call_id",
                "",
            ),
            (
                with_input(json!([{"type": "reasoning", "encrypted_content": "x"}])),
                missing(),
                "input[0].summary",
                "",
            ),
            (
                with("/tools", json!([{"type": "function", "name": "f"}])),
                missing(),
                "tools[0].parameters",
                "",
            ),
            (
                with("/tools", json!([{"type": "function", "parameters": {}}])),
                missing(),
                "tools[0].name",
                "",
            ),
            (
                with("/tools", json!([{"type": "abacus"}])),
                wrong_value(),
                "tools[0].type",
                "'abacus'",
            ),
            (
                with("/tool_choice", json!("any")),
                wrong_value(),
                "tool_choice",
                "'auto'",
            ),
            (
                with("/text", json!({"verbosity": "chatty"})),
                wrong_value(),
                "text.verbosity",
                "Invalid value: 'chatty'. Supported values are: 'low', 'medium', and 'high'.",
            ),
            (
                with("/reasoning", json!({"summary": "all"})),
                wrong_value(),
                "reasoning.summary",
                "'concise'",
            ),
            (
                with("/service_tier", json!("fast")),
                wrong_value(),
                "service_tier",
                "'priority'",
            ),
            (
                with(
                    "/text",
                    json!({"format": {"type": "json_schema", "schema": {}}}),
                ),
                missing(),
                "text.format.name",
                "",
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn names_and_call_ids_outside_their_limits_are_rejected() {
    let model = start().await;
    let long = "x".repeat(65);
    let object = json!({"type": "object", "properties": {}});
    let call = |name: &str, id: &str| {
        with_input(json!([
            {"type": "function_call", "call_id": id, "name": name, "arguments": "{}"},
            {"type": "function_call_output", "call_id": id, "output": "x"},
        ]))
    };
    let twice = json!({"type": "function", "name": "f", "parameters": object});
    assert_rejected(
        &model,
        &[
            (call("f", ""), json!("empty_string"), "input[0].call_id", "minimum length 1"),
            (call("f", &long), json!("string_above_max_length"), "input[0].call_id",
                "Invalid 'input[0].call_id': string too long. Expected a string with maximum length 64, but got a string with length 65 instead."),
            (call("f.g", "c"), json!("invalid_value"), "input[0].name", "'^[a-zA-Z0-9_-]+$'"),
            (call(&long, "c"), json!("string_above_max_length"), "input[0].name", "maximum length 64"),
            (with_tool("f g", &object, false), json!("invalid_value"), "tools[0].name", "does not match pattern"),
            (with_tool("", &object, false), json!("empty_string"), "tools[0].name", ""),
            (with_tool(&long, &object, false), json!("string_above_max_length"), "tools[0].name", ""),
            (with("/tools", json!([twice, twice])), json!("invalid_value"), "tools[1].name", "must be unique"),
        ],
    )
    .await;
    let fits = "x".repeat(64);
    assert_accepted(
        &model,
        &[call(&fits, &fits), with_tool(&fits, &object, false)],
    )
    .await;
}

#[tokio::test]
async fn calls_without_output_and_outputs_without_call_are_rejected() {
    let model = start().await;
    let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
    let output = json!({"type": "function_call_output", "call_id": "c", "output": "x"});
    assert_rejected(
        &model,
        &[
            (
                with_input(json!([output])),
                Value::Null,
                "input",
                "No tool call found for function call output with call_id c.",
            ),
            (
                with_input(json!([output, call])),
                Value::Null,
                "input",
                "No tool call found",
            ),
            (
                with_input(json!([call])),
                Value::Null,
                "input",
                "No tool output found for function call c.",
            ),
        ],
    )
    .await;
    assert_accepted(&model, &[with_input(json!([call, output]))]).await;
}

#[tokio::test]
async fn images_that_cannot_be_decoded_are_rejected_wherever_they_are() {
    let model = start().await;
    let image = |url: &str| json!([{"type": "input_image", "image_url": url}]);
    let prompt = |url: &str| with_input(json!([{"role": "user", "content": image(url)}]));
    let output = |url: &str| {
        with_input(json!([
            {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "c", "output": image(url)},
        ]))
    };
    let path = "input[0].content[0].image_url";
    let sentence = "The image data you provided does not represent a valid image.";
    let cut = &PIXEL[..PIXEL.len() - 24];
    let invalid = || json!("invalid_image");
    assert_rejected(
        &model,
        &[
            (
                prompt("data:image/png;base64,iVBORw0KGgo="),
                invalid(),
                path,
                sentence,
            ),
            (prompt(cut), invalid(), path, sentence),
            (
                prompt("data:image/png;base64,AAAA"),
                invalid(),
                path,
                sentence,
            ),
            (
                prompt("data:image/png;base64,???"),
                invalid(),
                path,
                sentence,
            ),
            (
                output("data:image/gif;base64,R0lGODlh"),
                invalid(),
                "input[1].output[0].image_url",
                sentence,
            ),
            (
                prompt("data:image/png,abc"),
                json!("invalid_base64_image"),
                path,
                "base64",
            ),
            (
                prompt("file:///cat.png"),
                json!("invalid_value"),
                path,
                "Expected a valid URL",
            ),
            (
                prompt("cat.png"),
                json!("invalid_value"),
                path,
                "Expected a valid URL",
            ),
        ],
    )
    .await;
    assert_accepted(
        &model,
        &[
            prompt(PIXEL),
            output(PIXEL),
            prompt("https://example.com/cat.png"),
        ],
    )
    .await;
}

#[tokio::test]
async fn strict_schemas_outside_the_rules_are_rejected_with_the_place() {
    let model = start().await;
    let object = |properties: Value, required: Value| json!({"type": "object", "properties": properties, "required": required, "additionalProperties": false});
    let text = json!({"type": "string"});
    let optional = object(json!({"a": text, "b": text}), json!(["a"]));
    let nested = object(
        json!({"a": {"type": "object", "properties": {}}}),
        json!(["a"]),
    );
    let in_list = object(
        json!({"a": {"type": "array", "items": optional}}),
        json!(["a"]),
    );
    let cases = [
        (
            json!({"type": "array", "items": text}),
            "schema must be a JSON Schema of 'type: \"object\"', got 'type: \"array\"'.",
        ),
        (json!({"anyOf": [optional]}), "got 'type: \"None\"'."),
        (
            json!({"type": "object", "properties": {}}),
            "In context=(), 'additionalProperties' is required to be supplied and to be false.",
        ),
        (
            optional.clone(),
            "In context=(), 'required' is required to be supplied and to be an array including every key in properties. Missing 'b'.",
        ),
        (
            object(json!({"a": text}), json!(["a", "b"])),
            "Extra required key 'b' supplied.",
        ),
        (
            nested,
            "In context=('properties', 'a'), 'additionalProperties' is required",
        ),
        (
            in_list,
            "In context=('properties', 'a', 'items'), 'required' is required",
        ),
        (
            object(json!({"a": {"anyOf": [text, optional]}}), json!(["a"])),
            "In context=('properties', 'a', 'anyOf', '1'), 'required'",
        ),
        (
            object(
                json!({"a": {"type": "string", "minLength": 1}}),
                json!(["a"]),
            ),
            "In context=('properties', 'a'), 'minLength' is not permitted.",
        ),
        (
            object(json!({"a": {"oneOf": [text]}}), json!(["a"])),
            "'oneOf' is not permitted.",
        ),
        (
            object(json!({"a": {"description": "any"}}), json!(["a"])),
            "schema must have a 'type' key.",
        ),
        (
            object(json!({"a": {"type": "array"}}), json!(["a"])),
            "array schema missing items.",
        ),
        (
            object(
                json!({"a": {"type": "string", "format": "uri"}}),
                json!(["a"]),
            ),
            "'uri' is not a valid format.",
        ),
    ];
    for (schema, part) in &cases {
        let function = (
            with_tool("f", schema, true),
            json!("invalid_function_parameters"),
            "tools[0].parameters",
            *part,
        );
        let format = (
            with_schema(schema),
            json!("invalid_json_schema"),
            "text.format.schema",
            *part,
        );
        assert_rejected(&model, &[function, format]).await;
    }
    assert_rejected(
        &model,
        &[
            (
                with_tool("f", &json!({"type": "object"}), false),
                json!("invalid_function_parameters"),
                "tools[0].parameters",
                "Invalid schema for function 'f': In context=(), object schema missing properties.",
            ),
            (
                with_schema(&optional),
                json!("invalid_json_schema"),
                "text.format.schema",
                "Invalid schema for response_format 'answer': ",
            ),
        ],
    )
    .await;
    let strict = object(
        json!({
            "a": {"type": ["string", "null"], "enum": ["x", null]},
            "b": {"type": "array", "items": {"$ref": "#/$defs/n"}, "minItems": 1},
        }),
        json!(["a", "b"]),
    );
    let mut strict = strict;
    strict["$defs"] = json!({"n": {"type": "number", "minimum": 0}});
    assert_accepted(
        &model,
        &[
            with_tool("f", &optional, false),
            with_tool("f", &strict, true),
            with_schema(&strict),
        ],
    )
    .await;
}
