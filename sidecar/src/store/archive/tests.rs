//! The archive in a real Redis, as two sidecars use it.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::task::TaskTracker;

use crate::store::ledger::{Clock, Ledger};
use crate::store::redis::RedisServer;
use crate::store::{
    ResponseRecord, ResponseStore, SharedResponses, StatePlace, StoreLimits, Unavailable,
};
use crate::turn::{Content, Detail, Image, Item, Message, Phase, ReasoningItem, Role};
use crate::turn::{ToolCall, ToolKind, ToolOutput};

const LIMITS: StoreLimits = StoreLimits {
    responses: NonZeroUsize::new(100),
    bytes: 1 << 20,
    age: Some(Duration::from_secs(3600)),
};

/// A store with its archive.
struct Stand {
    store: Arc<ResponseStore>,
    /// Ends the connection.
    _ledger: Ledger,
}

impl Stand {
    async fn open(server: &RedisServer, limits: StoreLimits) -> Self {
        let place = StatePlace::Redis(server.address(), Unavailable::Reject);
        let (ledger, writer) = Ledger::open(&place, Clock::system()).unwrap();
        tokio::task::spawn_blocking(|| writer.run());
        while ledger.status("x", "day=1".parse().unwrap()).await.is_none() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let shared = SharedResponses::beside(&ledger, limits, TaskTracker::new());
        Self {
            store: Arc::new(ResponseStore::new(limits).archived_in(shared)),
            _ledger: ledger,
        }
    }

    /// Stores a response that continues from `previous`.
    async fn add(&self, client: &str, id: &str, previous: Option<&str>, items: Vec<Item>) {
        let mut node = None;
        if let Some(previous) = previous {
            self.store.sync(client, previous).await.unwrap();
            let stored = self.store.stored(client, previous).expect("it is stored");
            node = Some(Arc::clone(&stored.node));
        }
        let record = ResponseRecord {
            document: Bytes::from(format!("document {id}")),
            previous: node,
            items,
            input_len: 1,
            continuable: true,
        };
        let running = self.store.begin(client, id, Bytes::new());
        running.store(record).finished().await;
    }

    /// Returns the conversation of a response.
    async fn conversation(&self, client: &str, id: &str) -> Option<Vec<Item>> {
        let running = self.store.sync(client, id).await.unwrap();
        assert_eq!(running, None);
        let stored = self.store.stored(client, id)?;
        assert_eq!(stored.document, format!("document {id}"));
        Some(stored.node.conversation())
    }

    async fn has(&self, client: &str, id: &str) -> bool {
        self.conversation(client, id).await.is_some()
    }
}

fn text(text: &str) -> Item {
    Item::Message(Message {
        role: Role::User,
        content: vec![Content::Text(text.to_owned())],
        phase: None,
    })
}

/// An item of each kind, with each optional part.
fn all_kinds() -> Vec<Item> {
    vec![
        Item::Message(Message {
            role: Role::Assistant,
            content: vec![
                Content::Text("é\n\u{0}".to_owned()),
                Content::Image(Image {
                    url: "data:image/png;base64,AA==".to_owned(),
                    detail: Some(Detail::High),
                    pixels: 4,
                    place: None,
                }),
            ],
            phase: Some(Phase::FinalAnswer),
        }),
        Item::ToolCall(ToolCall {
            call_id: "call".to_owned(),
            name: "tool".to_owned(),
            namespace: Some("space".to_owned()),
            kind: ToolKind::Custom,
            arguments: "{".to_owned(),
        }),
        Item::ToolOutput(ToolOutput {
            call_id: "call".to_owned(),
            content: vec![Content::Text(String::new())],
        }),
        Item::Reasoning(ReasoningItem {
            summary: vec!["part".to_owned()],
            encrypted_content: Some("secret".to_owned()),
        }),
    ]
}

#[tokio::test(flavor = "multi_thread")]
async fn response_is_created_on_one_sidecar_continued_on_another_and_deleted_for_both() {
    let server = RedisServer::start();
    let (one, other) = (
        Stand::open(&server, LIMITS).await,
        Stand::open(&server, LIMITS).await,
    );
    one.add("ann", "resp_1", None, all_kinds()).await;
    other
        .add("ann", "resp_2", Some("resp_1"), vec![text("two")])
        .await;
    one.add("ann", "resp_3", Some("resp_2"), vec![text("three")])
        .await;
    let whole = [all_kinds(), vec![text("two")], vec![text("three")]].concat();
    for stand in [&one, &other] {
        assert_eq!(
            stand.conversation("ann", "resp_3").await.as_deref(),
            Some(whole.as_slice())
        );
        assert!(
            !stand.has("bob", "resp_3").await,
            "a client sees only its own"
        );
        assert_eq!(stand.store.delete("bob", "resp_3").await.ok(), Some(false));
    }
    assert_eq!(one.store.delete("ann", "resp_2").await.ok(), Some(true));
    assert_eq!(other.store.delete("ann", "resp_2").await.ok(), Some(false));
    for stand in [&one, &other] {
        assert!(!stand.has("ann", "resp_2").await);
        assert_eq!(
            stand.conversation("ann", "resp_3").await.as_deref(),
            Some(whole.as_slice())
        );
    }
    // A third sidecar finds the conversation without the deleted response.
    let third = Stand::open(&server, LIMITS).await;
    assert_eq!(third.conversation("ann", "resp_3").await, Some(whole));
    for id in ["resp_1", "resp_3"] {
        assert_eq!(third.store.delete("ann", id).await.ok(), Some(true));
    }
    let mut connection = server.connection();
    let left: Vec<String> = redis::cmd("KEYS")
        .arg("codex-edge:responses*")
        .query(&mut connection)
        .unwrap();
    assert_eq!(
        left,
        Vec::<String>::new(),
        "the last response frees the items of all"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_keeps_most_loses_its_least_recently_used_responses() {
    let server = RedisServer::start();
    let limits = StoreLimits {
        responses: NonZeroUsize::new(4),
        ..LIMITS
    };
    let (one, other) = (
        Stand::open(&server, limits).await,
        Stand::open(&server, limits).await,
    );
    one.add("bob", "resp_b", None, vec![text("b")]).await;
    for id in ["resp_1", "resp_2", "resp_3"] {
        one.add("ann", id, None, vec![text(id)]).await;
        // The order of use is that of the server's milliseconds.
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    assert!(other.has("ann", "resp_1").await, "used now");
    tokio::time::sleep(Duration::from_millis(2)).await;
    other.add("ann", "resp_4", None, vec![text("4")]).await;
    for (client, id, is_kept) in [
        ("bob", "resp_b", true),
        ("ann", "resp_1", true),
        ("ann", "resp_2", false),
        ("ann", "resp_3", true),
        ("ann", "resp_4", true),
    ] {
        assert_eq!(one.has(client, id).await, is_kept, "{id}");
        assert_eq!(other.has(client, id).await, is_kept, "{id}");
    }
    let large = StoreLimits {
        bytes: 5000,
        ..LIMITS
    };
    let third = Stand::open(&server, large).await;
    third
        .add("ann", "resp_5", None, vec![text(&"x".repeat(3000))])
        .await;
    third
        .add("ann", "resp_6", None, vec![text(&"x".repeat(3000))])
        .await;
    assert!(third.has("bob", "resp_b").await);
    assert!(!third.has("ann", "resp_5").await);
    assert!(third.has("ann", "resp_6").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn expired_response_is_gone_and_the_conversation_that_continues_it_is_not() {
    let server = RedisServer::start();
    let limits = StoreLimits {
        age: Some(Duration::from_millis(400)),
        ..LIMITS
    };
    let stand = Stand::open(&server, limits).await;
    stand.add("ann", "resp_1", None, vec![text("one")]).await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    stand
        .add("ann", "resp_2", Some("resp_1"), vec![text("two")])
        .await;
    let other = Stand::open(&server, limits).await;
    while other.has("ann", "resp_1").await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    if let Some(conversation) = other.conversation("ann", "resp_2").await {
        assert_eq!(conversation, [text("one"), text("two")]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn response_in_progress_is_shown_by_every_sidecar_until_it_ends_or_its_sidecar_does() {
    let server = RedisServer::start();
    let (one, other) = (
        Stand::open(&server, LIMITS).await,
        Stand::open(&server, LIMITS).await,
    );
    let in_progress = Bytes::from_static(b"in progress");
    let is_shown = async |id: &str| {
        loop {
            match other.store.sync("ann", id).await.unwrap() {
                Some(document) => return document,
                None => tokio::time::sleep(Duration::from_millis(5)).await,
            }
        }
    };
    let begin = |id: &str| {
        let mut running = one.store.begin("ann", id, in_progress.clone());
        running.announce(in_progress.clone());
        running
    };
    let running = begin("resp_1");
    assert_eq!(is_shown("resp_1").await, in_progress);
    assert_eq!(other.store.delete("ann", "resp_1").await.ok(), Some(false));
    let record = ResponseRecord {
        document: Bytes::from_static(b"document resp_1"),
        previous: None,
        items: vec![text("one")],
        input_len: 1,
        continuable: true,
    };
    running.store(record).finished().await;
    assert!(other.has("ann", "resp_1").await);
    // Dropped without an end that is stored.
    let dropped = begin("resp_2");
    is_shown("resp_2").await;
    drop(dropped);
    while other.store.sync("ann", "resp_2").await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let _lost = begin("resp_3");
    is_shown("resp_3").await;
    server.end_leases();
    assert_eq!(other.store.sync("ann", "resp_3").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_of_this_process_are_served_while_the_archive_is_away() {
    let mut server = RedisServer::start();
    let (one, other) = (
        Stand::open(&server, LIMITS).await,
        Stand::open(&server, LIMITS).await,
    );
    one.add("ann", "resp_1", None, vec![text("one")]).await;
    server.kill();
    assert!(one.has("ann", "resp_1").await);
    assert!(
        other.store.sync("ann", "resp_1").await.is_err(),
        "not an answer that it is unknown"
    );
    assert!(one.store.delete("ann", "resp_1").await.is_err());
    assert!(one.has("ann", "resp_1").await);
}
