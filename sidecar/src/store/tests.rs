//! The limits of the store and of the reasoning cache, and the sharing of conversations.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;

use super::limits::StoreLimits;
use super::reasoning::{ReasoningCache, ReasoningCollector};
use super::response_record::ResponseRecord;
use super::responses::ResponseStore;
use crate::turn::{
    Content, Event, Item, Message, ReasoningItem, Role, ToolCall, ToolKind, TurnObserver,
};

fn store(responses: usize, bytes: usize, age: Option<Duration>) -> Arc<ResponseStore> {
    Arc::new(ResponseStore::new(StoreLimits {
        responses: NonZeroUsize::new(responses),
        bytes,
        age,
    }))
}

fn message(bytes: usize) -> Item {
    Item::Message(Message {
        phase: None,
        role: Role::User,
        content: vec![Content::Text("x".repeat(bytes))],
    })
}

/// Stores a response of one item that continues from `previous`.
fn insert(store: &Arc<ResponseStore>, id: &str, previous: Option<&str>, bytes: usize) {
    insert_for("a", store, id, previous, bytes);
}

fn insert_for(
    client: &str,
    store: &Arc<ResponseStore>,
    id: &str,
    previous: Option<&str>,
    bytes: usize,
) {
    let previous = previous.map(|id| Arc::clone(&store.stored(client, id).unwrap().node));
    let record = ResponseRecord {
        document: Bytes::from_static(b"{}"),
        previous,
        items: vec![message(bytes)],
        input_len: 1,
        continuable: true,
    };
    store.begin(client, id, Bytes::new()).store(record);
}

fn has(store: &ResponseStore, id: &str) -> bool {
    store.document("a", id).is_some()
}

#[test]
fn the_least_recently_used_response_is_evicted_first() {
    let store = store(2, 1 << 20, None);
    insert(&store, "one", None, 1);
    insert(&store, "two", None, 1);
    assert!(has(&store, "one"));
    insert(&store, "three", None, 1);
    assert!(has(&store, "one") && has(&store, "three") && !has(&store, "two"));
    assert!(
        store.document("b", "one").is_none(),
        "a response belongs to one client"
    );
}

#[test]
fn shared_bytes_are_counted_once_and_freed_with_the_last_response() {
    let store = store(100, 100_000, None);
    insert(&store, "one", None, 60_000);
    insert(&store, "two", Some("one"), 10);
    let shared = store.bytes.load(Ordering::Relaxed);
    assert!((60_000..70_000).contains(&shared), "{shared}");
    assert!(store.forget("a", "one"));
    assert_eq!(
        store.stored("a", "two").unwrap().node.conversation().len(),
        2
    );
    assert!(store.bytes.load(Ordering::Relaxed) > 60_000);
    insert(&store, "three", None, 60_000);
    assert!(!has(&store, "two") && has(&store, "three"));
    assert!(store.bytes.load(Ordering::Relaxed) < 70_000);
    insert(&store, "four", None, 100_000);
    assert!(!has(&store, "four"), "larger than the store");
    assert_eq!(store.bytes.load(Ordering::Relaxed), 0);
}

#[test]
fn expired_responses_are_not_found() {
    let store = store(100, 1 << 20, Some(Duration::ZERO));
    insert(&store, "one", None, 1);
    assert!(!has(&store, "one"));
}

#[test]
fn a_long_conversation_is_dropped_without_recursion() {
    let store = store(1, 1 << 30, None);
    insert(&store, "0", None, 0);
    for turn in 1..100_000 {
        insert(&store, &turn.to_string(), Some(&(turn - 1).to_string()), 0);
    }
    assert!(store.forget("a", "99999"));
    assert_eq!(store.bytes.load(Ordering::Relaxed), 0);
}

#[tokio::test]
async fn a_running_response_is_found_and_can_be_cancelled() {
    let store = store(1, 1 << 20, None);
    let running = store.begin("a", "one", Bytes::from_static(b"running"));
    assert_eq!(store.document("a", "one").unwrap(), "running");
    assert!(store.is_running("a", "one") && !store.is_running("b", "one"));
    let cancelled = running.cancelled().clone();
    let turn = async move {
        cancelled.cancelled().await;
        drop(running);
    };
    let (cancelled, ()) = tokio::join!(store.cancel("a", "one"), turn);
    cancelled.unwrap();
    assert!(!has(&store, "one"));
}

#[test]
fn responses_of_the_largest_client_are_evicted() {
    let store = store(100, 100_000, None);
    insert(&store, "mine", None, 10);
    for number in 0..5 {
        insert_for("b", &store, &format!("b{number}"), None, 60_000);
    }
    assert!(has(&store, "mine"), "of a client with few bytes");
    assert!(
        store.document("b", "b4").is_some(),
        "the newest of the larger client"
    );
    assert!(store.document("b", "b3").is_none());
    insert_for("b", &store, "huge", None, 200_000);
    assert!(has(&store, "mine"));
    assert!(store.document("b", "huge").is_none());
}

#[test]
fn chain_is_charged_to_its_client_after_its_responses_are_deleted() {
    let store = store(100, 100_000, None);
    insert(&store, "mine", None, 20_000);
    // `b` keeps most of the store in a chain of which a single small response is left.
    insert_for("b", &store, "b0", None, 60_000);
    insert_for("b", &store, "b1", Some("b0"), 10);
    assert!(store.forget("b", "b0"));
    insert(&store, "more", None, 25_000);
    assert!(has(&store, "mine") && has(&store, "more"));
    assert!(
        store.document("b", "b1").is_none(),
        "the chain of `b` makes room"
    );
    assert!(store.bytes.load(Ordering::Relaxed) < 50_000);
}

#[test]
fn chains_with_a_shared_prefix_are_charged_once_until_the_last_is_gone() {
    let store = store(100, 1 << 20, None);
    insert_for("b", &store, "root", None, 60_000);
    for branch in ["left", "right"] {
        insert_for("b", &store, branch, Some("root"), 10);
    }
    let bytes = || store.bytes_of("b");
    let all = bytes();
    assert!((60_000..65_000).contains(&all), "{all}");
    assert!(store.forget("b", "root") && store.forget("b", "left"));
    assert!((60_000..all).contains(&bytes()), "{}", bytes());
    assert!(store.forget("b", "right"));
    assert_eq!(bytes(), 0);
}

#[test]
fn chain_of_a_running_turn_takes_no_room_from_others() {
    let store = store(100, 100_000, None);
    insert(&store, "mine", None, 30_000);
    insert_for("b", &store, "b0", None, 65_000);
    let running = store.stored("b", "b0").unwrap();
    insert(&store, "more", None, 10_000);
    assert!(store.document("b", "b0").is_none(), "`b` keeps most");
    assert!(
        has(&store, "mine") && has(&store, "more"),
        "though that frees no bytes yet"
    );
    // A client beyond an equal part makes room for the chain.
    insert(&store, "large", None, 20_000);
    assert!(!has(&store, "mine") && has(&store, "more") && has(&store, "large"));
    drop(running);
    assert_eq!(store.bytes_of("b"), 0);
}

#[test]
fn client_with_the_most_responses_makes_room_for_more() {
    let store = store(3, 1 << 20, None);
    insert(&store, "mine", None, 10_000);
    for number in 0..5 {
        insert_for("b", &store, &format!("b{number}"), None, 1);
    }
    assert!(has(&store, "mine"), "although it is the largest");
    assert!(store.document("b", "b4").is_some() && store.document("b", "b2").is_none());
}

/// Observes a turn of `client` with a reasoning item of so many bytes before the call `call_id`.
fn observe(cache: &Arc<ReasoningCache>, client: &str, call_id: &str, bytes: usize) {
    let mut collector = ReasoningCollector::new(Arc::clone(cache), client.to_owned());
    collector.on_event(&Event::ReasoningItem(ReasoningItem {
        summary: Vec::new(),
        encrypted_content: Some("x".repeat(bytes)),
    }));
    collector.on_event(&Event::ToolCall(ToolCall {
        call_id: call_id.to_owned(),
        name: "look".to_owned(),
        namespace: None,
        kind: ToolKind::Function,
        arguments: "{}".to_owned(),
    }));
}

#[test]
fn reasoning_is_cached_for_the_call_of_one_client() {
    let cache = Arc::new(ReasoningCache::default());
    observe(&cache, "a", "one", 10);
    assert_eq!(cache.before_call("a", "one").len(), 1);
    assert!(cache.before_call("b", "one").is_empty());
    assert!(cache.before_call("a", "two").is_empty());
}

#[test]
fn the_reasoning_cache_evicts_the_least_recently_used_call_first() {
    let cache = Arc::new(ReasoningCache::default());
    for call_id in ["one", "two", "three"] {
        observe(&cache, "a", call_id, 5 << 20);
    }
    assert_eq!(cache.before_call("a", "one").len(), 1);
    observe(&cache, "a", "four", 5 << 20);
    assert!(cache.before_call("a", "two").is_empty());
    observe(&cache, "a", "huge", 17 << 20);
    assert!(cache.before_call("a", "huge").is_empty());
    for call_id in ["one", "three", "four"] {
        assert_eq!(cache.before_call("a", call_id).len(), 1, "{call_id}");
    }
}
