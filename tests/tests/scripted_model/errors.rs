//! Error responses: those of a script, and those to an invalid request.
//! Follows OpenAI's error object.

use http::{Method, StatusCode};
use serde_json::{Value, json};
use tests::http::{empty, get, post};

use crate::{connect, play, start};

#[tokio::test]
async fn status_step_sends_the_error_of_its_status() {
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
        let response = play(&model, &json!({"status": status})).await;
        assert_eq!(response.status.as_u16(), status);
        let error = &response.json()["error"];
        assert_eq!((&error["type"], &error["code"]), (&json!(kind), &code));
    }
}

#[tokio::test]
async fn status_step_sends_scripted_error_fields_and_headers() {
    let model = start().await;
    let response = play(
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
    let error = &response.json()["error"];
    assert_eq!(error["type"], "usage_limit_reached");
    assert_eq!(error["resets_in_seconds"], 3600);
    assert_eq!(response.header("retry-after"), "7");
    assert_eq!(response.header("x-codex-primary-used-percent"), "100");
    assert_eq!(response.header("x-codex-primary-reset-after-seconds"), "60");

    let response = play(
        &model,
        &json!({"status": 502, "body": "<html>bad gateway</html>"}),
    )
    .await;
    assert_eq!(&response.body[..], b"<html>bad gateway</html>");
}

#[tokio::test]
async fn stream_head_carries_scripted_rate_limits() {
    let model = start().await;
    let limits = json!({
        "primary": {"used_percent": 12.5, "window_minutes": 300, "resets_at": 1_799_990_000},
        "secondary": {"used_percent": 40, "window_minutes": 10_080},
    });
    let response = play(
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
        assert_eq!(response.header(field), value, "{field}");
    }
}

#[tokio::test]
async fn invalid_directive_gets_400_that_names_the_step() {
    let model = start().await;
    let response = play(&model, &json!([{"text": "a"}, {"tekst": "b"}])).await;
    assert_eq!(response.status, StatusCode::BAD_REQUEST);
    let message = response.json()["error"]["message"].to_string();
    assert!(
        message.contains("step 2: a step needs one of: text"),
        "{message}"
    );
}

#[tokio::test]
async fn unknown_route_gets_404_unknown_url() {
    let model = start().await;
    let mut client = connect(&model).await;
    for request in [
        get("/v1/responses"),
        post("/responses", "{}"),
        post("/v1/chat/completions", "{}"),
        empty(Method::PUT, "/__control/requests"),
    ] {
        let response = client.send(request).await.expect("a response");
        assert_eq!(response.status, StatusCode::NOT_FOUND);
        assert_eq!(response.json()["error"]["code"], "unknown_url");
    }
    let response = client
        .send(post("/v1/responses", "not JSON"))
        .await
        .expect("a response");
    assert_eq!(response.status, StatusCode::BAD_REQUEST);
    let models = client.send(get("/v1/models")).await.expect("a response");
    assert_eq!(models.json(), json!({"object": "list", "data": []}));
}
