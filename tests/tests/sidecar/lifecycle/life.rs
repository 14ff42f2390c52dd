//! The sidecar's own life: how it stops, what it leaves behind, what it does with the remains of another.

use std::fs;

use nix::sys::signal::Signal;
use serde_json::json;
use tests::http::get;
use tests::sidecar::{Sidecar, SidecarOptions, wait_until_gone};
use tests::sse;

use crate::stack::{SOON, ask, assert_error, chat, eventually, start, start_with, stream};

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
    let left = sidecar.leftover_files();
    assert!(left.is_empty(), "{left:?}");
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

/// A request that meets a closed connection is lost: whoever sent it cannot know whether it was read.
#[tokio::test]
async fn who_is_on_the_way_when_it_stops_is_told_to_ask_again() {
    let (model, mut sidecar) = start().await;
    let (mut used, mut unused) = (sidecar.connect().await, sidecar.connect().await);
    used.send(get("/v1/models")).await.unwrap();
    sidecar.signal(Signal::SIGTERM);
    eventually("its name is free", || !sidecar.socket().exists()).await;
    let long = "word ".repeat(1 << 18);
    for client in [&mut used, &mut unused] {
        let answer = client.send(chat(&json!({"text": long}), &json!({}))).await;
        let answer = answer.expect("it is the client who closes");
        assert_error(&answer, 503, "codex_unavailable");
        let fields = ["x-should-retry", "retry-after", "connection"];
        assert_eq!(
            fields.map(|name| answer.header(name)),
            ["true", "1", "close"]
        );
    }
    assert_eq!(sidecar.wait().await, Some(0), "{}", sidecar.log());
    assert!(model.requests().is_empty());
}

#[tokio::test]
async fn a_connection_that_nobody_uses_does_not_keep_it() {
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

#[tokio::test]
async fn a_home_that_another_sidecar_has_is_refused() {
    let (model, sidecar) = start().await;
    let home = sidecar.dir().join("codex-home");
    let mut second = SidecarOptions::new(&model)
        .env("CODEX_HOME", &home.to_string_lossy())
        .spawn();
    assert_eq!(second.wait().await, Some(64), "{}", second.log());
    assert!(second.log().contains("codex-home"), "{}", second.log());
}

#[tokio::test]
async fn turns_that_ended_leave_no_descriptor_and_no_folder() {
    let many = |options: SidecarOptions| options.env("PROXY_SSE_MAX_CONCURRENCY", "0");
    let (model, sidecar) = start_with(many).await;
    ask(&sidecar, json!({"text": "Hi."}), json!({})).await;
    let before = held(&sidecar);
    for round in 0..10 {
        let script = json!([{"text": "par", "open": true}, {"hold": "for ever"}, {"text": "ty"}]);
        let mut leaves = stream(&sidecar, script).await;
        leaves.next_json().await;
        leaves.next_json().await;
        ask(&sidecar, json!({"text": "Hi."}), json!({})).await;
        ask(&sidecar, json!({"status": 500}), json!({})).await;
        drop(leaves);
        model
            .wait_for_disconnects(round + 1, SOON)
            .await
            .expect("its turn is interrupted");
    }
    let settled = async {
        // The first count may hold a connection that was about to close.
        while is_more(held(&sidecar), before) {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    let settled = tokio::time::timeout(SOON, settled).await;
    assert!(
        settled.is_ok(),
        "{:?}, more than {before:?}",
        held(&sidecar)
    );
}

fn is_more(now: (usize, usize, usize), before: (usize, usize, usize)) -> bool {
    now.0 > before.0 || now.1 > before.1 || now.2 > before.2
}

/// Descriptors of the sidecar, processes below it, and what is in its private folder and in the turns' folder there.
fn held(sidecar: &Sidecar) -> (usize, usize, usize) {
    let entries = |folder: std::path::PathBuf| fs::read_dir(folder).into_iter().flatten().flatten();
    let descriptors = entries(format!("/proc/{}/fd", sidecar.pid()).into()).count();
    let mut private = entries(sidecar.dir().to_owned()).map(|entry| entry.path());
    let private = private.find(|path| path.to_string_lossy().contains("codex-edge-"));
    let private = private.expect("it has a private folder");
    let files = entries(private.join("work")).count() + entries(private).count();
    (descriptors, sidecar.children().len(), files)
}
