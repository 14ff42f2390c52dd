//! The sidecar's own life: how it stops, what it leaves behind, what it does with the remains of another.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::json;
use tests::http::get;
use tests::sidecar::wait_until_gone;
use tests::sse;

use crate::stack::{start, start_with, stream};

#[tokio::test]
async fn told_to_stop_it_lets_a_running_turn_finish_and_leaves_nothing() {
    let (model, mut sidecar) = start().await;
    let children = sidecar.children();
    let mut events = stream(
        &sidecar,
        json!([{"text": "par", "open": true}, {"hold": "end"}, {"text": "ty"}]),
    )
    .await;
    events.next_json().await;
    events.next_json().await;
    sidecar.signal(Signal::SIGTERM);
    model.release("end");
    let rest = events.rest().await.unwrap();
    assert_eq!(rest.last().unwrap(), "data: [DONE]");
    drop(events);
    assert_eq!(sidecar.wait().await, Some(0), "{}", sidecar.log());
    wait_until_gone(&children).await;
    assert!(!sidecar.socket().exists());
    let left: Vec<_> = fs::read_dir(sidecar.dir())
        .unwrap()
        .map(|entry| entry.unwrap().file_name())
        .collect();
    assert_eq!(left.len(), 2, "only the log and Codex's home: {left:?}");
}

#[tokio::test]
async fn a_turn_that_outlives_the_drain_is_ended_honestly() {
    let (_model, mut sidecar) = start_with(|options| options.env("PROXY_DRAIN_MS", "300")).await;
    let mut events = stream(
        &sidecar,
        json!([{"text": "par", "open": true}, {"hold": "for ever"}, {"text": "ty"}]),
    )
    .await;
    events.next_json().await;
    events.next_json().await;
    sidecar.signal(Signal::SIGTERM);
    let rest = events
        .rest()
        .await
        .expect("the stream ends well, whatever it says");
    assert_eq!(
        sse::json(rest.last().unwrap())["error"]["code"],
        "codex_unavailable"
    );
    drop(events);
    assert_eq!(sidecar.wait().await, Some(0), "{}", sidecar.log());
}

#[tokio::test]
async fn killed_it_takes_its_children_along() {
    let (_model, mut sidecar) = start().await;
    let children = sidecar.children();
    let mut events = stream(
        &sidecar,
        json!([{"text": "par", "open": true}, {"hold": "for ever"}, {"text": "ty"}]),
    )
    .await;
    events.next_json().await;
    sidecar.signal(Signal::SIGKILL);
    assert_eq!(sidecar.wait().await, None);
    wait_until_gone(&children).await;
    assert!(sidecar.socket().exists(), "nobody was left to remove it");
}

#[tokio::test]
async fn its_socket_is_for_its_user_and_group_only() {
    use std::os::unix::fs::PermissionsExt;
    let (_model, sidecar) = start().await;
    let mode = fs::metadata(sidecar.socket()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o660);
    let home = fs::metadata(sidecar.dir().join("codex-home"))
        .unwrap()
        .permissions()
        .mode();
    assert_eq!(home & 0o777, 0o700);
    let health = sidecar
        .connect()
        .await
        .send(get("/healthz"))
        .await
        .unwrap()
        .json();
    assert_eq!(
        (&health["ok"], &health["sandbox_mode"]),
        (&json!(true), &json!("read-only"))
    );
}
