//! The archive in a real Redis and in a file, as two sidecars use it.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tempfile::TempDir;
use tokio_util::task::TaskTracker;

use crate::store::ledger::{Clock, Ledger};
use crate::store::redis::RedisServer;
use crate::store::{
    ResponseArchive, ResponseRecord, ResponseStore, SharedResponses, StatePlace, StoreLimits,
    Unavailable,
};
use crate::turn::{Content, Detail, Image, Item, Message, Phase, ReasoningItem, Role};
use crate::turn::{ToolCall, ToolKind, ToolOutput};

const LIMITS: StoreLimits = StoreLimits {
    responses: NonZeroUsize::new(100),
    bytes: 1 << 20,
    age: Some(Duration::from_secs(3600)),
};

/// The place of an archive.
enum Place {
    Redis(RedisServer),
    File(TempDir),
}

impl Place {
    /// Returns an empty place of each kind.
    fn of_each_kind() -> [Self; 2] {
        [
            Self::Redis(RedisServer::start()),
            Self::File(tempfile::tempdir().unwrap()),
        ]
    }

    /// Returns the names of the entries that are left.
    fn left(&self) -> Vec<String> {
        match self {
            Self::Redis(server) => redis::cmd("KEYS")
                .arg("codex-edge:responses*")
                .query(&mut server.connection())
                .unwrap(),
            Self::File(folder) => {
                let file = rusqlite::Connection::open(folder.path().join(FILE)).unwrap();
                let mut query = file
                    .prepare("SELECT id FROM responses UNION SELECT client FROM clients")
                    .unwrap();
                let names = query.query_map([], |row| row.get(0)).unwrap();
                names.collect::<Result<_, _>>().unwrap()
            }
        }
    }

    /// Ends the sidecars that run a turn, as far as others can tell.
    fn end_owners(&self) {
        match self {
            Self::Redis(server) => server.end_leases(),
            Self::File(folder) => {
                let file = rusqlite::Connection::open(folder.path().join(FILE)).unwrap();
                // A process that started before the system did.
                let gone = "UPDATE running SET owner = '1-0-' || substr(owner, -16)";
                assert_ne!(file.execute(gone, []).unwrap(), 0);
            }
        }
    }
}

/// The name of the archive's file.
const FILE: &str = "responses.sqlite3";

/// A store with its archive.
struct Stand {
    store: Arc<ResponseStore>,
    /// Ends the connection to Redis.
    _ledger: Option<Ledger>,
}

impl Stand {
    async fn open(place: &Place, limits: StoreLimits) -> Self {
        let (archive, ledger) = match place {
            Place::Redis(server) => {
                let ledger = ledger(server).await;
                let archive = ResponseArchive::beside(&ledger, limits).unwrap();
                (archive, Some(ledger))
            }
            Place::File(folder) => {
                let path = folder.path().join(FILE);
                let (archive, writer) = ResponseArchive::open(&path, limits).unwrap();
                tokio::task::spawn_blocking(|| writer.run());
                (archive, None)
            }
        };
        let shared = SharedResponses::new(archive, TaskTracker::new());
        Self {
            store: Arc::new(ResponseStore::new(limits).archived_in(Some(shared))),
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

/// Returns a ledger that is connected.
async fn ledger(server: &RedisServer) -> Ledger {
    let place = StatePlace::Redis(server.address(), Unavailable::Reject);
    let (ledger, writer) = Ledger::open(&place, Clock::system()).unwrap();
    tokio::task::spawn_blocking(|| writer.run());
    while ledger.status("x", "day=1".parse().unwrap()).await.is_none() {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    ledger
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
    for place in Place::of_each_kind() {
        continued_and_deleted_for_both(&place).await;
    }
}

async fn continued_and_deleted_for_both(place: &Place) {
    let (one, other) = (
        Stand::open(place, LIMITS).await,
        Stand::open(place, LIMITS).await,
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
    let third = Stand::open(place, LIMITS).await;
    assert_eq!(third.conversation("ann", "resp_3").await, Some(whole));
    for id in ["resp_1", "resp_3"] {
        assert_eq!(third.store.delete("ann", id).await.ok(), Some(true));
    }
    assert_eq!(
        place.left(),
        Vec::<String>::new(),
        "the last response frees the items of all"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn client_that_keeps_most_loses_its_least_recently_used_responses() {
    for place in Place::of_each_kind() {
        loses_the_least_recently_used(&place).await;
    }
}

async fn loses_the_least_recently_used(place: &Place) {
    let limits = StoreLimits {
        responses: NonZeroUsize::new(4),
        ..LIMITS
    };
    let (one, other) = (
        Stand::open(place, limits).await,
        Stand::open(place, limits).await,
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
    let third = Stand::open(place, large).await;
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
    for place in Place::of_each_kind() {
        expires_alone(&place).await;
    }
}

async fn expires_alone(place: &Place) {
    let limits = StoreLimits {
        age: Some(Duration::from_millis(400)),
        ..LIMITS
    };
    let stand = Stand::open(place, limits).await;
    stand.add("ann", "resp_1", None, vec![text("one")]).await;
    tokio::time::sleep(Duration::from_millis(250)).await;
    stand
        .add("ann", "resp_2", Some("resp_1"), vec![text("two")])
        .await;
    let other = Stand::open(place, limits).await;
    while other.has("ann", "resp_1").await {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    if let Some(conversation) = other.conversation("ann", "resp_2").await {
        assert_eq!(conversation, [text("one"), text("two")]);
    }
}

/// The age counts from the response, and not from the time at which a sidecar has read it.
#[tokio::test(flavor = "multi_thread")]
async fn response_that_another_sidecar_has_read_expires_with_it() {
    for place in Place::of_each_kind() {
        let limits = StoreLimits {
            age: Some(Duration::from_secs(1)),
            ..LIMITS
        };
        let stand = Stand::open(&place, limits).await;
        stand.add("ann", "resp_1", None, vec![text("one")]).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
        let other = Stand::open(&place, limits).await;
        other.has("ann", "resp_1").await;
        tokio::time::sleep(Duration::from_millis(550)).await;
        assert!(!other.has("ann", "resp_1").await);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn response_in_progress_is_shown_by_every_sidecar_until_it_ends_or_its_sidecar_does() {
    for place in Place::of_each_kind() {
        is_shown_until_its_end(&place).await;
    }
}

async fn is_shown_until_its_end(place: &Place) {
    let (one, other) = (
        Stand::open(place, LIMITS).await,
        Stand::open(place, LIMITS).await,
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
    place.end_owners();
    assert_eq!(other.store.sync("ann", "resp_3").await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn responses_of_this_process_are_served_while_the_archive_is_away() {
    let mut place = Place::Redis(RedisServer::start());
    let (one, other) = (
        Stand::open(&place, LIMITS).await,
        Stand::open(&place, LIMITS).await,
    );
    one.add("ann", "resp_1", None, vec![text("one")]).await;
    if let Place::Redis(server) = &mut place {
        server.kill();
    }
    assert!(one.has("ann", "resp_1").await);
    assert!(
        other.store.sync("ann", "resp_1").await.is_err(),
        "not an answer that it is unknown"
    );
    assert!(one.store.delete("ann", "resp_1").await.is_err());
    assert!(one.has("ann", "resp_1").await);
}

#[tokio::test(flavor = "multi_thread")]
async fn cancel_reaches_the_sidecar_that_runs_the_turn() {
    for place in Place::of_each_kind() {
        let (one, other) = (
            Stand::open(&place, LIMITS).await,
            Stand::open(&place, LIMITS).await,
        );
        let mut running = one.store.begin("ann", "resp_1", Bytes::new());
        running.announce(Bytes::from_static(b"in progress"));
        while other.store.sync("ann", "resp_1").await.unwrap().is_none() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        other.store.cancel("bob", "resp_1").await.unwrap();
        let cancelled = running.cancelled().clone();
        assert!(!cancelled.is_cancelled(), "a client cancels only its own");
        let turn = async move {
            cancelled.cancelled().await;
            drop(running);
        };
        let (result, ()) = tokio::join!(other.store.cancel("ann", "resp_1"), turn);
        result.unwrap();
        assert_eq!(other.store.sync("ann", "resp_1").await.unwrap(), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted_response_leaves_no_text_in_the_file() {
    let place = Place::File(tempfile::tempdir().unwrap());
    let stand = Stand::open(&place, LIMITS).await;
    stand.add("ann", "resp_1", None, vec![text("MARKER")]).await;
    assert_eq!(stand.store.delete("ann", "resp_1").await.ok(), Some(true));
    drop(stand);
    let Place::File(folder) = &place else {
        unreachable!("opened above");
    };
    let path = folder.path().join(FILE);
    while path.with_extension("sqlite3-wal").exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let file = std::fs::read(path).unwrap();
    assert!(!file.windows(6).any(|bytes| bytes == b"MARKER"));
}
