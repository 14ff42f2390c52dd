//! The errors of a failing model service or child under `proto`, the same buffered and streamed.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tests::sidecar::wait_until_gone;
use tests::sse;

use super::fixture::{start, start_with};
use crate::stack::{SOON, ask, assert_error, assert_fails, stream};

#[tokio::test]
async fn provider_failures_are_errors_buffered_and_streamed() {
    let (_model, sidecar) = start().await;
    let limit =
        json!({"status": 429, "error": {"type": "usage_limit_reached", "resets_in_seconds": 3600}});
    for (script, status, code) in [
        (
            json!({"status": 400, "error": {"message": "Bad."}}),
            400,
            "invalid_request_error",
        ),
        (json!({"status": 401}), 503, "codex_login_required"),
        (json!({"status": 429}), 429, "rate_limited"),
        (limit, 429, "insufficient_quota"),
        (json!({"status": 500}), 502, "codex_failed"),
        (
            json!({"failed": "context_length_exceeded", "message": "Your input exceeds the context window of this model."}),
            400,
            "context_length_exceeded",
        ),
        (
            json!([{"text": "par"}, {"failed": "server_error"}]),
            502,
            "codex_failed",
        ),
        (
            json!([{"text": "par"}, {"cut": "abort"}]),
            502,
            "codex_failed",
        ),
        (
            json!([{"text": "par"}, {"cut": "clean"}]),
            502,
            "codex_failed",
        ),
        (
            json!([{"text": "par"}, {"incomplete": "max_output_tokens"}]),
            502,
            "codex_failed",
        ),
    ] {
        assert_fails(&sidecar, script, status, code).await;
    }
}

#[tokio::test]
async fn exhausted_plan_gives_retry_after() {
    let (_model, sidecar) = start().await;
    let limit =
        json!({"status": 429, "error": {"type": "usage_limit_reached", "resets_in_seconds": 3600}});
    let response = ask(&sidecar, limit, json!({})).await;
    assert_error(&response, 429, "insufficient_quota");
    assert_eq!(response.header("retry-after"), "3600");
}

#[tokio::test]
async fn provider_failure_after_text_is_not_retried() {
    let (model, sidecar) = start().await;
    let cut = json!([{"text": "partial "}, {"cut": "abort"}]);
    let events = stream(&sidecar, cut).await.rest().await.unwrap();
    let text = events.iter().filter(|event| event.contains("partial"));
    assert_eq!(text.count(), 1, "{events:?}");
    assert_eq!(model.requests().len(), 1);
}

#[tokio::test]
async fn idle_and_request_timeouts_end_the_turn_in_the_child() {
    let (model, sidecar) = start_with(|options| {
        options
            .env("PROXY_PROTO_IDLE_MS", "300")
            .env("PROXY_TIMEOUT_MS", "1500")
    })
    .await;
    let silent = json!([{"head": {}}, {"hold": "for ever"}]);
    assert_error(&ask(&sidecar, silent, json!({})).await, 504, "idle_timeout");
    let endless = json!({"chars": 10_000, "delta_chars": 1, "delay_ms": 20});
    assert_error(
        &ask(&sidecar, endless, json!({})).await,
        504,
        "request_timeout",
    );
    let cut = model.wait_for_disconnects(2, SOON).await;
    assert_eq!(cut.expect("Codex drops both model requests").len(), 2);
}

#[tokio::test]
async fn child_exit_during_a_turn_fails_that_turn_only() {
    let (_model, sidecar) = start_with(|options| options.env("CODEX_PROTO_POOL", "1")).await;
    let held = json!([{"text": "par", "open": true}, {"hold": "for ever"}, {"text": "ty"}]);
    let children = sidecar.children();
    assert_eq!(children.len(), 1);
    let mut events = stream(&sidecar, held).await;
    events.next_json().await;
    events.next_json().await;
    kill(Pid::from_raw(children[0]), Signal::SIGKILL).unwrap();
    let rest = events.rest().await.unwrap();
    let last = sse::json(rest.last().unwrap());
    assert_eq!(last["error"]["code"], "codex_failed", "{rest:?}");
    wait_until_gone(&children).await;
    let response = ask(&sidecar, json!({"text": "Again."}), json!({})).await;
    assert_eq!(response.status, 200, "{response:?}");
}
