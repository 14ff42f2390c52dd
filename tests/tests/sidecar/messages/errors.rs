//! Errors in Anthropic's shape, with its types and statuses.

use http::Request;
use serde_json::{Value, json};
use tests::http::{Body, BufferedResponse, get, post, with};

use super::fixture::{post_json, request, send, stream};
use crate::stack::{start, start_with};

/// Asserts that `response` is an error in Anthropic's shape with this status, type and code.
#[track_caller]
fn assert_error(response: &BufferedResponse, status: u16, kind: &str, code: &str) {
    assert_eq!(response.status.as_u16(), status, "{response:?}");
    let body = response.json();
    assert_eq!(body["type"], "error", "{response:?}");
    assert_eq!(body["error"]["type"], kind, "{response:?}");
    assert_eq!(body["error"]["details"]["error_code"], code, "{response:?}");
    assert!(
        body["error"]["message"]
            .as_str()
            .is_some_and(|text| !text.is_empty())
    );
}

fn named(request: Request<Body>) -> Request<Body> {
    with(request, "x-request-id", "r-1")
}

#[tokio::test]
async fn each_failure_has_its_status_and_type() {
    let (_model, sidecar) = start().await;
    let overloaded = json!({"failed": "server_is_overloaded"});
    for (script, status, kind, code) in [
        (
            json!({"status": 400, "error": {"message": "Bad."}}),
            400,
            "invalid_request_error",
            "invalid_request_error",
        ),
        (
            json!({"failed": "context_length_exceeded"}),
            400,
            "invalid_request_error",
            "context_length_exceeded",
        ),
        (
            json!({"status": 401}),
            503,
            "api_error",
            "codex_login_required",
        ),
        (
            json!({"status": 429}),
            429,
            "rate_limit_error",
            "rate_limited",
        ),
        (
            json!({"status": 429, "error": {"type": "usage_limit_reached"}}),
            429,
            "rate_limit_error",
            "insufficient_quota",
        ),
        (overloaded, 529, "overloaded_error", "codex_unavailable"),
        (json!({"status": 500}), 502, "api_error", "codex_failed"),
    ] {
        let buffered = send(&sidecar, named(request(&script, &json!({})))).await;
        assert_error(&buffered, status, kind, code);
        assert_eq!(buffered.json()["request_id"], "r-1");
        assert_eq!(buffered.headers["request-id"], "r-1");
        // A stream that fails before its first text has the status, too.
        let streamed = send(&sidecar, request(&script, &json!({"stream": true}))).await;
        assert_error(&streamed, status, kind, code);
        for name in ["retry-after", "x-should-retry", "content-type"] {
            assert_eq!(
                streamed.headers.get(name),
                buffered.headers.get(name),
                "{name}"
            );
        }
    }
}

#[tokio::test]
async fn stream_that_fails_later_ends_with_an_error_event() {
    let (_model, sidecar) = start().await;
    let events = stream(
        &sidecar,
        json!([{"text": "par"}, {"cut": "abort"}]),
        json!({}),
    )
    .await;
    let last = events.last().unwrap();
    assert_eq!(last["type"], "error", "{events:?}");
    assert_eq!(last["error"]["type"], "api_error");
    assert!(
        events.iter().all(|event| event["type"] != "message_stop"),
        "{events:?}"
    );
}

#[tokio::test]
async fn overlong_conversation_is_told_in_the_words_of_the_api() {
    let (_model, sidecar) =
        start_with(|options| options.env("PROXY_MAX_PROMPT_TOKENS", "1000")).await;
    let body = json!({"model": "codex-5", "max_tokens": 9, "messages": [{"role": "user", "content": "a".repeat(8000)}]});
    let response = send(&sidecar, post_json("/v1/messages", &body)).await;
    assert_error(
        &response,
        400,
        "invalid_request_error",
        "context_length_exceeded",
    );
    assert_eq!(
        response.json()["error"]["message"],
        "prompt is too long: 2000 tokens > 1000 maximum"
    );
    let response = send(
        &sidecar,
        request(&json!({"failed": "context_length_exceeded"}), &json!({})),
    )
    .await;
    let message = response.json()["error"]["message"]
        .as_str()
        .unwrap()
        .to_owned();
    let words = message.strip_prefix("prompt is too long: ").unwrap();
    let (actual, max) = words.split_once(" tokens > ").unwrap();
    let max = max.strip_suffix(" maximum").unwrap();
    assert!(
        actual.parse::<u64>().unwrap() > max.parse::<u64>().unwrap(),
        "{message}"
    );
}

#[tokio::test]
async fn rejections_have_the_shape_with_dotted_paths() {
    let (_model, sidecar) = start().await;
    let invalid = |fields: Value| request(&json!([]), &fields);
    let document = json!([{"role": "user", "content": [{"type": "document", "source": {}}]}]);
    for (request, status, kind, code, words) in [
        (
            invalid(json!({"max_tokens": null})),
            400,
            "invalid_request_error",
            "invalid_request_error",
            "`max_tokens`",
        ),
        (
            invalid(json!({"messages": document})),
            400,
            "invalid_request_error",
            "unsupported_value",
            "messages.0.content.0.type: Unsupported",
        ),
        (
            invalid(json!({"messages": [{"role": "user", "content": [{"type": 7}]}]})),
            400,
            "invalid_request_error",
            "invalid_request_error",
            "`messages.0.content.0.type` must be a string",
        ),
        (
            invalid(json!({"model": "nope"})),
            404,
            "not_found_error",
            "model_not_found",
            "model: ",
        ),
        (
            post("/v1/messages", "{"),
            400,
            "invalid_request_error",
            "invalid_json",
            "Invalid JSON",
        ),
        (
            post("/v1/messages/batches", "{}"),
            404,
            "not_found_error",
            "unknown_url",
            "Unknown request URL",
        ),
        (
            get("/v1/messages"),
            405,
            "invalid_request_error",
            "method_not_allowed",
            "GET is not allowed",
        ),
        (
            with(get("/v1/models/nope"), "anthropic-version", "2023-06-01"),
            404,
            "not_found_error",
            "model_not_found",
            "nope",
        ),
    ] {
        let response = send(&sidecar, request).await;
        assert_error(&response, status, kind, code);
        let body = response.json();
        assert!(
            body["error"]["message"].as_str().unwrap().contains(words),
            "{body}"
        );
    }
}

#[tokio::test]
async fn fields_without_effect_are_named() {
    let (_model, sidecar) = start().await;
    let fields = json!({"temperature": 0.5, "top_k": 5, "system": [{"type": "text", "text": "Hi.", "cache_control": {"type": "ephemeral"}}], "extra": 1});
    let response = send(&sidecar, request(&json!({"text": "Hi."}), &fields)).await;
    assert_eq!(
        response.headers["x-codex-edge-ignored"],
        "extra, system[].cache_control, temperature, top_k"
    );
}
