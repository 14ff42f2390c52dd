//! What the sidecar writes down of a request: one line, found from its trace, and nothing of what was said.

use serde_json::{Value, json};
use tests::http::with;

use crate::stack::{chat, eventually, start, start_with};

const SECRET: &str = "a-secret-of-the-client";

#[tokio::test]
async fn a_request_is_one_line_with_its_trace_and_without_its_content() {
    let (_model, sidecar) = start().await;
    let request = chat(&json!([{"text": SECRET}]), &json!({"user": SECRET}));
    let trace = "4bf92f3577b34da6a3ce929d0e0e4736";
    let request = with(
        request,
        "traceparent",
        &format!("00-{trace}-00f067aa0ba902b7-01"),
    );
    let request = with(request, "x-request-id", "the-request");
    let request = with(request, "x-codex-edge-client", "alice");
    let answer = sidecar.connect().await.send(request).await.unwrap();
    assert_eq!(answer.status, 200);
    let lines = || -> Vec<Value> {
        let log = sidecar.log();
        let lines = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok());
        lines
            .filter(|line: &Value| line["message"] == "request")
            .collect()
    };
    eventually("the line is written", || !lines().is_empty()).await;
    let lines = lines();
    let [line] = lines.as_slice() else {
        panic!("one request, one line: {lines:?}");
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
async fn the_lines_to_and_from_codex_are_logged_on_demand_and_without_texts() {
    let (_model, sidecar) = start().await;
    assert!(
        !sidecar
            .dir()
            .join("codex-home/codex-proto-events.ndjson")
            .exists()
    );

    let tapped = |options: tests::sidecar::SidecarOptions| options.env("PROXY_LOG_PROTO", "true");
    let (_model, sidecar) = start_with(tapped).await;
    let request = chat(&json!([{"text": SECRET}]), &json!({}));
    assert_eq!(
        sidecar.connect().await.send(request).await.unwrap().status,
        200
    );
    let path = sidecar.dir().join("codex-home/codex-proto-events.ndjson");
    let log = || std::fs::read_to_string(&path).unwrap_or_default();
    eventually("the turn's end is logged", || {
        log().contains("turn/completed")
    })
    .await;
    let text = log();
    assert!(!text.contains(SECRET), "{text}");
    let lines: Vec<Value> = text
        .lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect();
    let said = |from: &str, method: &str| {
        let mut lines = lines.iter();
        lines.any(|line| line["from"] == from && line["line"]["method"] == method)
    };
    assert!(
        said("sidecar", "turn/start") && said("codex", "item/agentMessage/delta"),
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
