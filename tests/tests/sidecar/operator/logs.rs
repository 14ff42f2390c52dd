//! The sidecar's log of a request, one line with the trace id and without content, and the protocol log.

use serde_json::{Value, json};
use tests::http::with;

use crate::stack::{chat, eventually, start, start_with};

const SECRET: &str = "a-secret-of-the-client";

#[tokio::test]
async fn request_is_logged_as_one_line_with_its_trace_and_without_content() {
    let (_model, sidecar) = start().await;
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let traceparent = format!("00-{trace}-00f067aa0ba902b7-01");
    let request = [
        ("traceparent", traceparent.as_str()),
        ("x-request-id", "the-request"),
        ("x-codex-edge-client", "alice"),
    ]
    .into_iter()
    .fold(
        chat(&json!([{"text": SECRET}]), &json!({"user": SECRET})),
        |request, (name, value)| with(request, name, value),
    );
    let response = sidecar.connect().await.send(request).await.unwrap();
    assert_eq!(response.status, 200);
    let read_lines = || -> Vec<Value> {
        sidecar
            .log()
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|line: &Value| line["message"] == "request")
            .collect()
    };
    eventually("the request is logged", || !read_lines().is_empty()).await;
    let lines = read_lines();
    let [line] = lines.as_slice() else {
        panic!("one line expected for one request: {lines:?}");
    };
    for (field, expected) in [
        ("trace_id", trace),
        ("id", "the-request"),
        ("client", "alice"),
        ("method", "POST"),
        ("path", "/v1/chat/completions"),
    ] {
        assert_eq!(line["span"][field], expected, "{line}");
    }
    assert_eq!(
        (&line["status"], &line["client_left"]),
        (&json!(200), &json!(false))
    );
    assert!(!sidecar.log().contains(SECRET), "{}", sidecar.log());
}

#[tokio::test]
async fn protocol_log_is_opt_in_and_omits_message_texts() {
    let (_model, sidecar) = start().await;
    assert!(
        !sidecar
            .dir()
            .join("codex-home/codex-proto-events.ndjson")
            .exists()
    );

    let (_model, sidecar) = start_with(|options| options.env("PROXY_LOG_PROTO", "true")).await;
    let request = chat(&json!([{"text": SECRET}]), &json!({}));
    assert_eq!(
        sidecar.connect().await.send(request).await.unwrap().status,
        200
    );
    let path = sidecar.dir().join("codex-home/codex-proto-events.ndjson");
    let read_log = || std::fs::read_to_string(&path).unwrap_or_default();
    eventually("the end of the turn is logged", || {
        read_log().contains("turn/completed")
    })
    .await;
    let text = read_log();
    assert!(!text.contains(SECRET), "{text}");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let is_logged = |from: &str, method: &str| {
        lines
            .iter()
            .any(|line| line["from"] == from && line["line"]["method"] == method)
    };
    assert!(
        is_logged("sidecar", "turn/start") && is_logged("codex", "item/agentMessage/delta"),
        "{text}"
    );
    let pid = sidecar.children()[0];
    assert!(
        lines
            .iter()
            .all(|line| line["pid"] == pid && line["ts"].is_u64()),
        "{text}"
    );
}
