//! Requests that the provider or Codex refuses: 400 with the reason, never 502, whose client would send them again.

use serde_json::{Value, json};
use tests::http::{BufferedResponse, post};
use tests::sidecar::Sidecar;

use crate::stack::{assert_error, start};

/// Sends a request of each dialect that makes the model play `script`.
async fn ask_all(sidecar: &Sidecar, script: &Value) -> [BufferedResponse; 3] {
    let prompt = format!("[[model:{script}]]");
    let messages = json!([{"role": "user", "content": prompt}]);
    let chat = json!({"model": "codex-5", "messages": messages});
    let completion = json!({"model": "codex-5", "prompt": prompt});
    let response = json!({"model": "codex-5", "input": prompt});
    [
        send(sidecar, "/v1/chat/completions", &chat).await,
        send(sidecar, "/v1/completions", &completion).await,
        send(sidecar, "/v1/responses", &response).await,
    ]
}

async fn send(sidecar: &Sidecar, path: &str, body: &Value) -> BufferedResponse {
    let mut client = sidecar.connect().await;
    let response = client.send(post(path, body.to_string())).await;
    response.expect("a response arrives")
}

#[tokio::test]
async fn refusal_of_the_provider_keeps_its_code_and_names_the_field_of_the_client() {
    let (_model, sidecar) = start().await;
    let body = |code: &str, param: &str| json!({"status": 400, "error": {"message": "The reason.", "type": "invalid_request_error", "code": code, "param": param}});
    for (script, code, params) in [
        (
            body("invalid_json_schema", "text.format.schema"),
            "invalid_json_schema",
            [
                json!("response_format"),
                json!("response_format"),
                json!("text.format"),
            ],
        ),
        (
            body("invalid_function_parameters", "tools[0].parameters"),
            "invalid_function_parameters",
            [json!("tools"), json!("tools"), json!("tools")],
        ),
        (
            body("unsupported_value", "input[3].content[0].image_url"),
            "unsupported_value",
            [json!("messages"), json!("prompt"), json!("input")],
        ),
        (
            body("unsupported_value", "reasoning.effort"),
            "unsupported_value",
            [
                json!("reasoning_effort"),
                json!("reasoning_effort"),
                json!("reasoning.effort"),
            ],
        ),
        (
            body("unknown_parameter", "client_metadata"),
            "unknown_parameter",
            [Value::Null, Value::Null, Value::Null],
        ),
    ] {
        for (response, param) in ask_all(&sidecar, &script).await.iter().zip(params) {
            assert_error(response, 400, code);
            let error = response.json()["error"].take();
            assert_eq!(
                (&error["type"], &error["param"]),
                (&json!("invalid_request_error"), &param),
                "{script}"
            );
            let message = error["message"].as_str().expect("an error has a message");
            assert!(message.contains("The reason."), "{message}");
        }
    }
}

#[tokio::test]
async fn refusal_whose_code_codex_drops_is_known_by_its_sentence() {
    let (_model, sidecar) = start().await;
    let schema = "Invalid schema for response_format 'codex_output_schema': In context=(), 'required' is required.";
    for (script, code, words) in [
        (
            json!({"failed": "invalid_prompt", "message": "Invalid prompt: your prompt was flagged."}),
            "invalid_prompt",
            "flagged",
        ),
        (
            json!({"status": 400, "error": {"message": "Invalid prompt: flagged.", "code": "invalid_prompt"}}),
            "invalid_prompt",
            "flagged",
        ),
        (
            json!({"failed": "invalid_json_schema", "message": schema}),
            "invalid_json_schema",
            "response_format: In context=()",
        ),
        (
            json!({"failed": "invalid_function_parameters", "message": "Invalid schema for function 'look': No."}),
            "invalid_function_parameters",
            "function 'look'",
        ),
        (
            json!({"status": 422, "error": {"message": "Unprocessable."}}),
            "invalid_request_error",
            "Unprocessable.",
        ),
    ] {
        for response in ask_all(&sidecar, &script).await {
            assert_error(&response, 400, code);
            let message = response.json()["error"]["message"].to_string();
            assert!(message.contains(words), "{message}");
        }
    }
    let broken = json!({"failed": "server_error", "message": "Boom."});
    for response in ask_all(&sidecar, &broken).await {
        assert_error(&response, 502, "codex_failed");
    }
}

#[tokio::test]
async fn schema_that_codex_refuses_is_the_clients_fault() {
    let (model, sidecar) = start().await;
    let schema = json!({"type": "object", "properties": {"a": {"type": "string", "enum": "a"}}});
    let function = json!({"name": "look", "parameters": schema});
    let flat = json!({"type": "function", "name": "look", "parameters": schema});
    let messages = json!([{"role": "user", "content": "hi"}]);
    let nested = json!({"type": "function", "function": function});
    let chat = json!({"model": "codex-5", "messages": messages, "tools": [nested]});
    let response = json!({"model": "codex-5", "input": "hi", "tools": [flat]});
    for (path, body) in [("/v1/chat/completions", chat), ("/v1/responses", response)] {
        let response = send(&sidecar, path, &body).await;
        assert_error(&response, 400, "invalid_function_parameters");
        let error = response.json()["error"].take();
        let param = error["param"].as_str().unwrap_or_default();
        assert!(param.starts_with("tools"), "{error}");
        let message = error["message"].as_str().unwrap_or_default();
        assert!(!message.contains("sequence"), "{message}");
    }
    assert_eq!(model.requests().len(), 0);
}
