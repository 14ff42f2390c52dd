//! Children that stop reading: pipes fill, and the turns on them end in time while the rest of the house lives.
//! A pipe of Linux holds 64 KiB (pipe(7)), so that a large conversation gets stuck in it.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::json;
use tests::http::{BufferedResponse, get, post};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{Sidecar, wait_until_gone};

use crate::lifecycle::workers::{Faulty, group_of};
use crate::proto;
use crate::stack::{ask, assert_error, start, start_with};

/// Asks with far more text than a pipe holds.
async fn ask_at_length(sidecar: &Sidecar) -> BufferedResponse {
    let body = json!({"model": "codex-5", "messages": [
        {"role": "user", "content": "x".repeat(1 << 20)},
        {"role": "user", "content": "[[model:{\"text\":\"Hi.\"}]]"},
    ]});
    let mut client = sidecar.connect().await;
    let request = post("/v1/chat/completions", body.to_string());
    client.send(request).await.expect("an answer")
}

/// The one child of `sidecar` is deaf: its turn ends in time, the house answers meanwhile, and another takes over.
async fn assert_replaced(sidecar: &mut Sidecar) {
    let deaf = only_child(sidecar);
    let group = group_of(deaf);
    let mut other = sidecar.connect().await;
    let (answer, health) = tokio::join!(ask_at_length(sidecar), other.send(get("/healthz")));
    assert_error(&answer, 502, "codex_failed");
    assert_eq!(health.expect("an answer").status, 200);
    wait_until_gone(&group).await;
    sidecar.wait_until_ready().await;
    let answer = ask_at_length(sidecar).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    assert_ne!(only_child(sidecar), deaf);
}

fn only_child(sidecar: &Sidecar) -> i32 {
    let children = sidecar.children();
    assert_eq!(children.len(), 1, "{children:?}");
    children[0]
}

fn freeze_the_child(sidecar: &Sidecar) {
    let pid = Pid::from_raw(only_child(sidecar));
    kill(pid, Signal::SIGSTOP).expect("the child lives");
}

#[tokio::test]
async fn a_frozen_worker_is_replaced_after_its_first_turn() {
    let (_model, mut sidecar) = start().await;
    freeze_the_child(&sidecar);
    assert_replaced(&mut sidecar).await;
}

#[tokio::test]
async fn a_worker_that_stops_reading_is_replaced_after_its_first_turn() {
    let model = ScriptedModel::start().await.unwrap();
    let dir = tempfile::tempdir().unwrap();
    let first = dir.path().join("the first was here");
    // It reads until a thread is open: initialize, initialized, getAuthStatus, thread/start.
    let reads_some =
        "for _ in 1 2 3 4; do read -r line; printf '%s\\n' \"$line\"; done; exec sleep 600";
    let faulty = Faulty::new(&format!(
        "mkdir '{}' || exec \"$REAL\" \"$@\"\n{{ {reads_some}; }} | \"$REAL\" \"$@\"",
        first.display()
    ));
    let mut sidecar = faulty.options(&model).start().await;
    assert_replaced(&mut sidecar).await;
}

#[tokio::test]
async fn a_frozen_child_of_proto_costs_its_own_turn_only() {
    let codex = proto::codex();
    let one = |options: tests::sidecar::SidecarOptions| {
        options
            .env("CODEX_BIN", &codex)
            .env("CODEX_PROTO_POOL", "1")
    };
    let (_model, sidecar) = start_with(one).await;
    freeze_the_child(&sidecar);
    let deaf = only_child(&sidecar);
    let answer = ask_at_length(&sidecar).await;
    assert_error(&answer, 502, "codex_failed");
    let answer = ask(&sidecar, json!({"text": "Again."}), json!({})).await;
    assert_eq!(answer.status, 200, "{answer:?}");
    wait_until_gone(&[deaf]).await;
}
