//! Children that stop reading their input: the pipe fills, the turns of that child fail in time, and the sidecar serves
//! other requests meanwhile. A pipe on Linux holds 64 KiB (pipe(7)), so a write of a large conversation blocks.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tests::http::{BufferedResponse, get, post};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{Sidecar, SidecarOptions, wait_until_gone};
use xtask::tools::Tool;

use crate::lifecycle::workers::{FaultyCodex, group_of};
use crate::stack::{ask, assert_error, start, start_codex};

/// Sends a chat with far more text than a pipe holds.
async fn ask_with_long_text(sidecar: &Sidecar) -> BufferedResponse {
    let body = json!({"model": "codex-5", "messages": [
        {"role": "user", "content": "x".repeat(1 << 20)},
        {"role": "user", "content": "[[model:{\"text\":\"Hi.\"}]]"},
    ]});
    let mut client = sidecar.connect().await;
    let request = post("/v1/chat/completions", body.to_string());
    client.send(request).await.expect("a response arrives")
}

/// Asserts that the only child of `sidecar`, which does not read, fails its turn in time and is replaced, and that the
/// sidecar responds to other requests meanwhile.
async fn assert_replaced(sidecar: &mut Sidecar) {
    let unresponsive = only_child(sidecar);
    let group = group_of(unresponsive);
    let mut other = sidecar.connect().await;
    let (response, health) = tokio::join!(ask_with_long_text(sidecar), other.send(get("/healthz")));
    assert_error(&response, 502, "codex_failed");
    assert_eq!(health.expect("a response arrives").status, 200);
    wait_until_gone(&group).await;
    sidecar.wait_until_ready().await;
    let response = ask_with_long_text(sidecar).await;
    assert_eq!(response.status, 200, "{response:?}");
    assert_ne!(only_child(sidecar), unresponsive);
}

fn only_child(sidecar: &Sidecar) -> i32 {
    let children = sidecar.children();
    assert_eq!(children.len(), 1, "{children:?}");
    children[0]
}

fn suspend_the_child(sidecar: &Sidecar) {
    let pid = Pid::from_raw(only_child(sidecar));
    kill(pid, Signal::SIGSTOP).expect("the child is running");
}

#[tokio::test]
async fn suspended_worker_is_replaced_after_its_first_turn() {
    let (_model, mut sidecar) = start().await;
    suspend_the_child(&sidecar);
    assert_replaced(&mut sidecar).await;
}

#[tokio::test]
async fn worker_that_stops_reading_is_replaced_after_its_first_turn() {
    let model = ScriptedModel::start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let first = dir.path().join("first child has started");
    // Four lines reach Codex: initialize, initialized, getAuthStatus, thread/start. So the turn has a thread.
    let reads_some =
        "for _ in 1 2 3 4; do read -r line; printf '%s\\n' \"$line\"; done; exec sleep 600";
    // `mkdir` succeeds in the first child only; its replacement is the real Codex.
    let faulty = FaultyCodex::new(&format!(
        "mkdir '{}' || exec \"$REAL\" \"$@\"\n{{ {reads_some}; }} | \"$REAL\" \"$@\"",
        first.display()
    ));
    let mut sidecar = faulty.options(&model).start().await;
    assert_replaced(&mut sidecar).await;
}

#[tokio::test]
async fn suspended_proto_child_fails_its_own_turn_only() {
    let one_child = |options: SidecarOptions| options.env("CODEX_PROTO_POOL", "1");
    let (_model, sidecar) = start_codex(Tool::CodexProto, one_child).await;
    suspend_the_child(&sidecar);
    let unresponsive = only_child(&sidecar);
    let response = ask_with_long_text(&sidecar).await;
    assert_error(&response, 502, "codex_failed");
    let response = ask(&sidecar, json!({"text": "Again."}), json!({})).await;
    assert_eq!(response.status, 200, "{response:?}");
    wait_until_gone(&[unresponsive]).await;
}
