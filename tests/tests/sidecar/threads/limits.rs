//! The bounds of warm threads, their end, and what an operator sees of them.

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::{Value, json};
use std::time::Duration;
use tests::http::get;
use tests::sidecar::Sidecar;
use tokio::time::{sleep, timeout};

use super::conversation::{Chat, call, tool};
use crate::stack::{SOON, start, start_with};

async fn threads(sidecar: &Sidecar) -> Value {
    let mut client = sidecar.connect_admin().await;
    client
        .send(get("/status"))
        .await
        .expect("a response")
        .json()["threads"]
        .clone()
}

async fn wait_for(sidecar: &Sidecar, expected: &Value) {
    let wait = async {
        while threads(sidecar).await != *expected {
            sleep(Duration::from_millis(20)).await;
        }
    };
    let met = timeout(SOON, wait).await;
    assert!(
        met.is_ok(),
        "expected {expected}, found {}",
        threads(sidecar).await
    );
}

/// A conversation with a turn that waits for the output of the call `c1`.
async fn parked(sidecar: &Sidecar) -> Chat<'_> {
    let mut chat = Chat::new(sidecar);
    chat.fields = json!({"tools": [tool("look")]});
    chat.user("Weather?", &json!([[call("c1")], [{"text": "Cold."}]]));
    chat.send().await;
    chat.output("c1", "-3");
    chat
}

#[tokio::test]
async fn oldest_threads_make_room_and_a_client_has_half_of_them() {
    let (_model, sidecar) = start_with(|options| options.env("PROXY_WARM_THREADS", "4")).await;
    let mut chats: Vec<_> = ["ann", "ann", "ann", "bob", "bob", "cy"]
        .into_iter()
        .enumerate()
        .map(|(number, client)| {
            let mut chat = Chat::new(&sidecar);
            chat.client = client;
            chat.messages[0]["content"] = json!(format!("Conversation {number}."));
            chat
        })
        .collect();
    for chat in &mut chats {
        chat.ask("one").await;
    }
    wait_for(
        &sidecar,
        &json!({"limit": 4, "idle": 4, "parked": 0, "hits": 0, "misses": 0, "evictions": 2}),
    )
    .await;
    // Of ann's three the first made room for her third, and her second for cy's.
    let mut origins = Vec::new();
    // The newest first, since each new thread makes the oldest one go.
    for chat in chats.iter_mut().rev() {
        origins.push(chat.ask("two").await);
    }
    assert_eq!(origins, ["warm", "warm", "warm", "warm", "new", "new"]);
}

#[tokio::test]
async fn threads_expire() {
    let (_model, sidecar) = start_with(|options| options.env("PROXY_WARM_TTL_MS", "300")).await;
    let mut chat = parked(&sidecar).await;
    let mut other = Chat::new(&sidecar);
    other.ask("one").await;
    wait_for(
        &sidecar,
        &json!({"limit": 64, "idle": 0, "parked": 0, "hits": 0, "misses": 0, "evictions": 2}),
    )
    .await;
    assert_eq!(chat.send().await, "new");
    assert_eq!(other.ask("two").await, "new");
}

#[tokio::test]
async fn waiting_turn_holds_no_permit_and_ends_with_its_child() {
    let (model, mut sidecar) =
        start_with(|options| options.env("PROXY_SSE_MAX_CONCURRENCY", "1")).await;
    let chat = parked(&sidecar).await;
    assert_eq!(
        Chat::new(&sidecar).ask("one").await,
        "new",
        "another turn runs meanwhile"
    );
    let [child] = sidecar.children()[..] else {
        panic!("one child");
    };
    kill(Pid::from_raw(child), Signal::SIGKILL).unwrap();
    let messages = chat.messages;
    wait_for(
        &sidecar,
        &json!({"limit": 64, "idle": 0, "parked": 0, "hits": 0, "misses": 0, "evictions": 2}),
    )
    .await;
    sidecar.wait_until_ready().await;
    let mut chat = Chat::new(&sidecar);
    chat.fields = json!({"tools": [tool("look")]});
    chat.messages = messages;
    assert_eq!(chat.send().await, "new");
    assert_eq!(chat.ask("And now?").await, "warm");
    assert_eq!(model.requests().len(), 4);
}

#[tokio::test]
async fn waiting_turn_delays_no_drain() {
    let (_model, mut sidecar) = start().await;
    let before = {
        let chat = parked(&sidecar).await;
        chat.messages
    };
    let started = tokio::time::Instant::now();
    sidecar.signal(Signal::SIGTERM);
    assert_eq!(sidecar.wait().await, Some(0));
    assert!(
        started.elapsed() < Duration::from_secs(20),
        "the drain limit is 30 s"
    );
    sidecar.restart();
    sidecar.wait_until_ready().await;
    let mut chat = Chat::new(&sidecar);
    chat.fields = json!({"tools": [tool("look")]});
    chat.messages = before;
    assert_eq!(chat.send().await, "new");
}

#[tokio::test]
async fn threads_are_counted() {
    let (_model, sidecar) = start().await;
    let mut chat = parked(&sidecar).await;
    wait_for(
        &sidecar,
        &json!({"limit": 64, "idle": 0, "parked": 1, "hits": 0, "misses": 0, "evictions": 0}),
    )
    .await;
    chat.send().await;
    chat.messages[1]["content"] = json!("Edited.");
    chat.ask("two").await;
    wait_for(
        &sidecar,
        &json!({"limit": 64, "idle": 2, "parked": 0, "hits": 1, "misses": 1, "evictions": 0}),
    )
    .await;
    let mut client = sidecar.connect_admin().await;
    let metrics = client.send(get("/metrics")).await.unwrap();
    let text = String::from_utf8(metrics.body.to_vec()).unwrap();
    for line in [
        "sidecar_warm_threads{state=\"idle\"} 2",
        "sidecar_warm_threads{state=\"parked\"} 0",
        "sidecar_turn_threads_total{thread=\"warm\",reason=\"\"} 1",
        "sidecar_turn_threads_total{thread=\"new\",reason=\"first_request\"} 1",
        "sidecar_turn_threads_total{thread=\"new\",reason=\"no_thread\"} 1",
        "sidecar_warm_thread_evictions_total{reason=\"expired\"} 0",
    ] {
        assert!(text.contains(line), "{line} in {text}");
    }
}
