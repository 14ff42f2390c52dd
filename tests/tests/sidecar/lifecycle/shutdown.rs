//! Shutdown of the sidecar, its socket and `CODEX_HOME`, and the resources that it holds after many turns.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::json;
use tests::http::get;
use tests::sidecar::{Sidecar, SidecarOptions, wait_until_gone};
use tests::sse;

use crate::stack::{SOON, ask, assert_error, chat, eventually, start, start_with, stream};

#[tokio::test]
async fn sigterm_drains_running_turns_and_removes_the_socket() {
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
    let left = sidecar.leftover_files();
    assert!(left.is_empty(), "{left:?}");
}

#[tokio::test]
async fn turns_beyond_the_drain_deadline_end_with_an_error_event() {
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
        .expect("the stream ends without a transport error");
    assert_eq!(
        sse::json(rest.last().unwrap())["error"]["code"],
        "codex_unavailable"
    );
    drop(events);
    assert_eq!(sidecar.wait().await, Some(0), "{}", sidecar.log());
}

/// A request on a connection that the sidecar closes is lost: the client cannot know whether the sidecar has read it.
/// The sidecar therefore leaves the close to the client and rejects requests that arrive during the drain.
#[tokio::test]
async fn requests_during_drain_get_a_retryable_503() {
    let (model, mut sidecar) = start().await;
    let (mut used, mut unused) = (sidecar.connect().await, sidecar.connect().await);
    used.send(get("/v1/models")).await.unwrap();
    sidecar.signal(Signal::SIGTERM);
    eventually("the socket is unlinked", || !sidecar.socket().exists()).await;
    let long = "word ".repeat(1 << 18);
    for client in [&mut used, &mut unused] {
        let response = client
            .send(chat(&json!({"text": long}), &json!({})))
            .await
            .expect("the sidecar does not close the connection first");
        assert_error(&response, 503, "codex_unavailable");
        let headers = ["x-should-retry", "retry-after", "connection"];
        assert_eq!(
            headers.map(|name| response.header(name)),
            ["true", "1", "close"]
        );
    }
    assert_eq!(sidecar.wait().await, Some(0), "{}", sidecar.log());
    assert!(model.requests().is_empty());
}

#[tokio::test]
async fn idle_connections_do_not_delay_the_shutdown() {
    let (_model, mut sidecar) = start().await;
    let mut client = sidecar.connect().await;
    client.send(get("/v1/models")).await.unwrap();
    sidecar.signal(Signal::SIGTERM);
    let drain = std::time::Duration::from_secs(30);
    let ended = tokio::time::timeout(drain / 2, sidecar.ended()).await;
    assert_eq!(ended, Ok(Some(0)), "{}", sidecar.log());
    assert!(client.send(get("/v1/models")).await.is_err());
}

#[tokio::test]
async fn children_die_when_the_sidecar_is_killed() {
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
    assert!(
        sidecar.socket().exists(),
        "a killed sidecar cannot unlink its socket"
    );
}

#[tokio::test]
async fn socket_is_accessible_to_user_and_group_only() {
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
    let state = json!({"kind": "sqlite", "reachable": true});
    assert_eq!(health["state"], state);
}

#[tokio::test]
async fn codex_home_of_another_sidecar_is_rejected() {
    let (model, sidecar) = start().await;
    let home = sidecar.dir().join("codex-home");
    let mut second = SidecarOptions::new(&model)
        .env("CODEX_HOME", &home.to_string_lossy())
        .spawn();
    assert_eq!(second.wait().await, Some(64), "{}", second.log());
    assert!(second.log().contains("codex-home"), "{}", second.log());
}

#[tokio::test]
async fn finished_turns_leave_no_descriptor_process_or_folder() {
    let many = |options: SidecarOptions| options.env("PROXY_SSE_MAX_CONCURRENCY", "0");
    let (model, sidecar) = start_with(many).await;
    ask(&sidecar, json!({"text": "Hi."}), json!({})).await;
    let before = HeldResources::of(&sidecar);
    for round in 0..10 {
        let script = json!([{"text": "par", "open": true}, {"hold": "for ever"}, {"text": "ty"}]);
        let mut dropped = stream(&sidecar, script).await;
        dropped.next_json().await;
        dropped.next_json().await;
        ask(&sidecar, json!({"text": "Hi."}), json!({})).await;
        ask(&sidecar, json!({"status": 500}), json!({})).await;
        drop(dropped);
        model
            .wait_for_disconnects(round + 1, SOON)
            .await
            .expect("the turn is interrupted");
    }
    let release = async {
        // `before` may include a connection that was about to close, so fewer resources are fine.
        while HeldResources::of(&sidecar).exceeds(&before) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let released = tokio::time::timeout(SOON, release).await;
    assert!(
        released.is_ok(),
        "{:?}, more than {before:?}",
        HeldResources::of(&sidecar)
    );
}

/// Resources that a sidecar holds.
#[derive(Debug)]
struct HeldResources {
    descriptors: usize,
    children: usize,
    /// Entries of the private folder, and of the folder for turns in it.
    files: usize,
}

impl HeldResources {
    fn of(sidecar: &Sidecar) -> Self {
        let entries =
            |folder: std::path::PathBuf| fs::read_dir(folder).into_iter().flatten().flatten();
        let private = entries(sidecar.dir().to_owned())
            .map(|entry| entry.path())
            .find(|path| path.to_string_lossy().contains("codex-edge-"))
            .expect("the sidecar has a private folder");
        Self {
            descriptors: entries(format!("/proc/{}/fd", sidecar.pid()).into()).count(),
            children: sidecar.children().len(),
            files: entries(private.join("work")).count() + entries(private).count(),
        }
    }

    fn exceeds(&self, before: &Self) -> bool {
        self.descriptors > before.descriptors
            || self.children > before.children
            || self.files > before.files
    }
}
