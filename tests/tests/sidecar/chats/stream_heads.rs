//! The head of a stream, which waits for the model: a failure before the first output has its HTTP status.

use http::Request;
use serde_json::{Value, json};
use tests::http::{Body, BufferedResponse, get, post, with};
use tests::sidecar::Sidecar;
use tests::sse::{self, Events};
use tokio::task::JoinSet;

use crate::stack::{SOON, assert_error, chat, eventually, start, start_with, stream};

/// A request of each dialect that makes the model play `script`.
fn requests(script: &Value, stream: bool) -> [Request<Body>; 3] {
    let prompt = format!("[[model:{script}]]");
    let body = |prompt: Value| {
        let mut body = json!({"model": "codex-5", "stream": stream});
        for (name, value) in prompt.as_object().expect("the prompt is a field") {
            body[name] = value.clone();
        }
        body.to_string()
    };
    let messages = json!([{"role": "user", "content": prompt}]);
    [
        post("/v1/chat/completions", body(json!({"messages": messages}))),
        post("/v1/completions", body(json!({"prompt": prompt}))),
        post("/v1/responses", body(json!({"input": prompt}))),
    ]
}

async fn send(sidecar: &Sidecar, request: Request<Body>) -> BufferedResponse {
    let mut client = sidecar.connect().await;
    client.send(request).await.expect("a response arrives")
}

#[tokio::test]
async fn failure_before_the_first_output_has_the_status_and_headers_of_a_buffered_response() {
    let (_model, sidecar) = start().await;
    let unknown = json!({"message": "The model `x` does not exist or you do not have access to it.", "code": "model_not_found"});
    for (script, status, code) in [
        (
            json!({"status": 400, "error": {"message": "Bad."}}),
            400,
            "invalid_request_error",
        ),
        (
            json!({"failed": "context_length_exceeded"}),
            400,
            "context_length_exceeded",
        ),
        (
            json!({"status": 400, "error": unknown}),
            404,
            "model_not_found",
        ),
        (json!({"status": 401}), 503, "codex_login_required"),
        (json!({"status": 429}), 429, "rate_limited"),
        (
            json!({"status": 429, "error": {"type": "usage_limit_reached"}}),
            429,
            "insufficient_quota",
        ),
        (json!({"status": 500}), 502, "codex_failed"),
        (json!([{"cut": "abort"}]), 502, "codex_failed"),
    ] {
        let (streamed, buffered) = (requests(&script, true), requests(&script, false));
        for (streamed, buffered) in streamed.into_iter().zip(buffered) {
            let path = streamed.uri().to_string();
            let (streamed, buffered) = (
                send(&sidecar, streamed).await,
                send(&sidecar, buffered).await,
            );
            assert_error(&streamed, status, code);
            for name in [
                "content-type",
                "retry-after",
                "retry-after-ms",
                "x-should-retry",
            ] {
                let (streamed, buffered) = (&streamed.headers, &buffered.headers);
                assert_eq!(
                    streamed.get(name),
                    buffered.get(name),
                    "{path} {script} {name}"
                );
            }
            assert_eq!(streamed.json(), buffered.json(), "{path} {script}");
            assert_eq!(
                streamed.headers.contains_key("retry-after"),
                matches!(code, "rate_limited" | "codex_login_required")
            );
        }
    }
}

#[tokio::test]
async fn failure_after_the_head_is_an_error_frame() {
    let failure = json!({"status": 429});
    let late = json!([{"head": {}}, {"pause_ms": 1000}, {"failed": "server_is_overloaded"}]);
    for (head_ms, script, code) in [
        ("0", failure, "rate_limited"),
        ("20", late, "codex_unavailable"),
    ] {
        let (_model, sidecar) =
            start_with(|options| options.env("PROXY_STREAM_HEAD_MS", head_ms)).await;
        for request in requests(&script, true) {
            let path = request.uri().to_string();
            let mut client = sidecar.connect().await;
            let response = client.stream(request).await.expect("a response arrives");
            assert_eq!(response.status, 200, "{path}");
            let events = Events::new(response).rest().await.unwrap();
            let last = sse::json(events.last().expect("the stream has an error event"));
            assert_eq!(last["error"]["code"], code, "{path}: {events:?}");
        }
    }
}

#[tokio::test]
async fn reasoning_and_calls_start_a_stream_as_text_does() {
    let (model, sidecar) =
        start_with(|options| options.env("PROXY_STREAM_HEAD_MS", "600000")).await;
    let reasoning = json!([{"reasoning": ["Think."]}, {"hold": "end"}, {"text": "Done."}]);
    let more = json!({"stream": true, "reasoning": {"effort": "high", "summary": "auto"}});
    let mut client = sidecar.connect().await;
    let response = client.stream(chat(&reasoning, &more)).await.unwrap();
    let mut events = Events::new(response);
    events.next_json().await;
    let first = events.next_json().await;
    assert_eq!(first["choices"][0]["delta"]["reasoning_content"], "Think.");
    model.release("end");
    events.rest().await.unwrap();
    for script in [
        json!({"call": "look", "arguments": {}}),
        json!({"refusal": "No."}),
        json!({"text": ""}),
    ] {
        let function = json!({"name": "look", "parameters": {"type": "object"}});
        let tools = json!([{"type": "function", "function": function}]);
        let request = chat(&script, &json!({"stream": true, "tools": tools}));
        let response = sidecar.connect().await.stream(request).await.unwrap();
        assert_eq!(response.status, 200, "{script}");
        let events = Events::new(response).rest().await.unwrap();
        assert_eq!(events.last().map(String::as_str), Some("data: [DONE]"));
    }
}

#[tokio::test]
async fn client_that_leaves_before_the_head_interrupts_its_turn() {
    let (model, sidecar) =
        start_with(|options| options.env("PROXY_STREAM_HEAD_MS", "600000")).await;
    let silent = json!([{"head": {}}, {"hold": "for ever"}]);
    let mut client = sidecar.connect().await;
    let request = with(
        chat(&silent, &json!({"stream": true})),
        "x-codex-edge-client",
        "leaves",
    );
    let mut pending = JoinSet::new();
    pending.spawn(async move { client.stream(request).await.is_ok() });
    model.wait_for_requests(1, SOON).await.unwrap();
    let response = pending.try_join_next();
    assert!(response.is_none(), "the head waits for the model");
    pending.shutdown().await;
    let cut = model.wait_for_disconnects(1, SOON).await;
    cut.expect("the turn is interrupted");
    eventually("the request is logged", || {
        sidecar.log().contains(r#""message":"request""#)
    })
    .await;
    let line = sidecar
        .log()
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok())
        .find(|line| line["message"] == "request")
        .expect("the request has a line");
    assert_eq!(
        (&line["status"], &line["client_left"]),
        (&Value::Null, &json!(true)),
        "{line}"
    );
    let usage = with(get("/v1/usage/raw"), "x-codex-edge-client", "leaves");
    let record = send(&sidecar, usage).await.json()["events"][0].take();
    assert_eq!(
        (&record["status"], &record["error"]),
        (&json!(499), &json!("client_left")),
        "{record}"
    );
    assert_eq!(record["time_to_first_token_ms"], Value::Null);
    let mut next = stream(&sidecar, json!({"text": "Next."})).await;
    next.next_json().await;
}
