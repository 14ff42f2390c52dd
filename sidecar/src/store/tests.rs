//! What is kept and what goes: the bounds of the store, and the sharing of conversations.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::responses::{Record, ResponseStore, StoreLimits};
use crate::turn::Item;
use crate::turn::{Content, Message, Role};

fn store(responses: usize, bytes: usize, age: Option<Duration>) -> Arc<ResponseStore> {
    Arc::new(ResponseStore::new(StoreLimits {
        responses: NonZeroUsize::new(responses),
        bytes,
        age,
    }))
}

fn said(bytes: usize) -> Item {
    Item::Message(Message {
        role: Role::User,
        content: vec![Content::Text("x".repeat(bytes))],
    })
}

/// Keeps a response of one item that goes on from `previous`.
fn keep(store: &Arc<ResponseStore>, id: &str, previous: Option<&str>, bytes: usize) {
    keep_for("a", store, id, previous, bytes);
}

fn keep_for(
    client: &str,
    store: &Arc<ResponseStore>,
    id: &str,
    previous: Option<&str>,
    bytes: usize,
) {
    let before = previous.map(|id| Arc::clone(&store.stored(client, id).unwrap().exchange));
    let record = Record {
        document: Bytes::from_static(b"{}"),
        before,
        items: vec![said(bytes)],
        inputs: 1,
        continuable: true,
    };
    store.begin(client, id, Bytes::new()).keep(record);
}

fn has(store: &ResponseStore, id: &str) -> bool {
    store.document("a", id).is_some()
}

#[test]
fn what_was_not_asked_for_longest_goes_first() {
    let store = store(2, 1 << 20, None);
    keep(&store, "one", None, 1);
    keep(&store, "two", None, 1);
    assert!(has(&store, "one"));
    keep(&store, "three", None, 1);
    assert!(has(&store, "one") && has(&store, "three") && !has(&store, "two"));
    assert!(store.document("b", "one").is_none(), "it is one client's");
}

#[test]
fn bytes_are_counted_once_and_freed_with_the_last_who_holds_them() {
    let store = store(100, 100_000, None);
    keep(&store, "one", None, 60_000);
    keep(&store, "two", Some("one"), 10);
    let shared = store.bytes.load(Ordering::Relaxed);
    assert!((60_000..70_000).contains(&shared), "{shared}");
    assert!(store.delete("a", "one"));
    assert_eq!(
        store
            .stored("a", "two")
            .unwrap()
            .exchange
            .conversation()
            .len(),
        2
    );
    assert!(store.bytes.load(Ordering::Relaxed) > 60_000);
    keep(&store, "three", None, 60_000);
    assert!(!has(&store, "two") && has(&store, "three"));
    assert!(store.bytes.load(Ordering::Relaxed) < 70_000);
    keep(&store, "four", None, 100_000);
    assert!(!has(&store, "four"), "larger than all there is room for");
    assert_eq!(store.bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn what_is_too_old_is_forgotten() {
    let store = store(100, 1 << 20, Some(Duration::ZERO));
    keep(&store, "one", None, 1);
    assert!(!has(&store, "one"));
}

#[test]
fn a_conversation_of_any_length_can_be_dropped() {
    let store = store(1, 1 << 30, None);
    keep(&store, "0", None, 0);
    for turn in 1..100_000 {
        keep(&store, &turn.to_string(), Some(&(turn - 1).to_string()), 0);
    }
    assert!(store.delete("a", "99999"));
    assert_eq!(store.bytes.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_response_that_runs_is_found_and_can_be_cancelled() {
    let store = store(1, 1 << 20, None);
    let recording = store.begin("a", "one", Bytes::from_static(b"running"));
    assert_eq!(store.document("a", "one").unwrap(), "running");
    assert!(store.is_running("a", "one") && !store.is_running("b", "one"));
    let stop = recording.stop().clone();
    let made = async move {
        stop.cancelled().await;
        drop(recording);
    };
    tokio::join!(store.cancel("a", "one"), made);
    assert!(!has(&store, "one"));
}

#[test]
fn who_fills_the_store_makes_room() {
    let store = store(100, 100_000, None);
    keep(&store, "mine", None, 10);
    for number in 0..5 {
        keep_for("b", &store, &format!("b{number}"), None, 60_000);
    }
    assert!(has(&store, "mine"), "of a client that keeps little");
    assert!(
        store.document("b", "b4").is_some(),
        "and the newest of the other"
    );
    assert!(store.document("b", "b3").is_none());
    keep_for("b", &store, "huge", None, 200_000);
    assert!(has(&store, "mine"));
    assert!(store.document("b", "huge").is_none());
}
