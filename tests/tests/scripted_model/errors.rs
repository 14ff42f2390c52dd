//! Answers that are errors: those that a script asks for, and those that a bad request gets.
//! Follows OpenAI's error object.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tests::http::{empty, get, post};

use crate::{body, connect, play, send, start};

#[tokio::test]
async fn a_status_brings_its_error_along() {
    let model = start().await;
    for (status, kind, code) in [
        (400, "invalid_request_error", Value::Null),
        (401, "invalid_request_error", json!("invalid_api_key")),
        (404, "invalid_request_error", json!("model_not_found")),
        (429, "rate_limit_exceeded", json!("rate_limit_exceeded")),
        (500, "server_error", Value::Null),
        (
            503,
            "service_unavailable_error",
            json!("server_is_overloaded"),
        ),
    ] {
        let answer = play(&model, &json!({"status": status})).await;
        assert_eq!(answer.status.as_u16(), status);
        let error = &answer.json()["error"];
        assert_eq!((&error["type"], &error["code"]), (&json!(kind), &code));
    }
}

#[tokio::test]
async fn an_error_is_as_scripted() {
    let model = start().await;
    let answer = play(
        &model,
        &json!({
            "status": 429,
            "error": {"type": "usage_limit_reached", "plan_type": "plus", "resets_in_seconds": 3600},
            "head": {
                "headers": {"retry-after": "7"},
                "rate_limits": {"primary": {"used_percent": 100, "window_minutes": 300, "resets_in_seconds": 60}},
            },
        }),
    )
    .await;
    let error = &answer.json()["error"];
    assert_eq!(error["type"], "usage_limit_reached");
    assert_eq!(error["resets_in_seconds"], 3600);
    assert_eq!(answer.header("retry-after"), "7");
    assert_eq!(answer.header("x-codex-primary-used-percent"), "100");
    assert_eq!(answer.header("x-codex-primary-reset-after-seconds"), "60");

    let answer = play(
        &model,
        &json!({"status": 502, "body": "<html>bad gateway</html>"}),
    )
    .await;
    assert_eq!(&answer.body[..], b"<html>bad gateway</html>");
}

#[tokio::test]
async fn rate_limits_ride_on_a_stream() {
    let model = start().await;
    let limits = json!({
        "primary": {"used_percent": 12.5, "window_minutes": 300, "resets_at": 1_799_990_000},
        "secondary": {"used_percent": 40, "window_minutes": 10_080},
    });
    let answer = play(
        &model,
        &json!([{"head": {"rate_limits": limits}}, {"text": "Hello"}]),
    )
    .await;
    for (field, value) in [
        ("x-codex-primary-used-percent", "12.5"),
        ("x-codex-primary-window-minutes", "300"),
        ("x-codex-primary-reset-at", "1799990000"),
        ("x-codex-secondary-used-percent", "40"),
        ("x-codex-secondary-window-minutes", "10080"),
        ("x-codex-secondary-reset-at", ""),
    ] {
        assert_eq!(answer.header(field), value, "{field}");
    }
}

#[tokio::test]
async fn a_bad_directive_is_refused_and_says_why() {
    let model = start().await;
    let answer = play(&model, &json!([{"text": "a"}, {"tekst": "b"}])).await;
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let message = answer.json()["error"]["message"].to_string();
    assert!(
        message.contains("step 2: a step has one of: text"),
        "{message}"
    );
}

#[tokio::test]
async fn what_the_responses_api_does_not_take_is_refused() {
    let model = start().await;
    let with = |member: &str, value: Value| {
        let mut body = body("Hello");
        body[member] = value;
        body
    };
    let call = json!({"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"});
    let output = json!({"type": "function_call_output", "call_id": "c", "output": "x"});
    for (body, why) in [
        (with("model", Value::Null), "`model` has to be"),
        (with("stream", json!(false)), "Only `stream: true`"),
        (with("input", Value::Null), "`input` has to be"),
        (
            with("tools", json!([{"type": "function", "name": "f"}])),
            "`tools[0]`",
        ),
        (
            with("input", json!([{"role": "tool", "content": "x"}])),
            "`role` has to be",
        ),
        (
            with(
                "input",
                json!([{"role": "user", "content": [{"type": "text", "text": "x"}]}]),
            ),
            "`input[0]`: content of type",
        ),
        (
            with("input", json!([{"type": "function_call", "name": "f"}])),
            "`call_id` has to be",
        ),
        (
            with("input", json!([output])),
            "No tool call found for function call output with call_id c.",
        ),
        (
            with("input", json!([call])),
            "No tool output found for function call c.",
        ),
    ] {
        let answer = send(&model, &body).await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{body}");
        let message = answer.json()["error"]["message"].to_string();
        assert!(message.contains(why), "{message}");
    }
    let whole = send(&model, &with("input", json!([call, output]))).await;
    assert_eq!(whole.status, StatusCode::OK);
}

#[tokio::test]
async fn routes_that_the_api_does_not_have_are_unknown() {
    let model = start().await;
    let mut client = connect(&model).await;
    for request in [
        get("/v1/responses"),
        post("/responses", "{}"),
        post("/v1/chat/completions", "{}"),
        empty(Method::PUT, "/__control/requests"),
    ] {
        let answer = client.send(request).await.expect("an answer");
        assert_eq!(answer.status, StatusCode::NOT_FOUND);
        assert_eq!(answer.json()["error"]["code"], "unknown_url");
    }
    let answer = client
        .send(post("/v1/responses", "no JSON"))
        .await
        .expect("an answer");
    assert_eq!(answer.status, StatusCode::BAD_REQUEST);
    let models = client.send(get("/v1/models")).await.expect("an answer");
    assert_eq!(models.json(), json!({"object": "list", "data": []}));
}
