//! Responses that clients may come back to: what they were, and the conversations that go on from them.
//! OpenAI API reference, "Responses", `store` and `previous_response_id`.
//!
//! No thread of a child is kept for a conversation: one ephemeral thread a request is the contract with Codex, so any
//! child can serve the next turn, a recycled one loses nothing, and a conversation at rest costs no child memory.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lru::LruCache;
use tokio_util::sync::CancellationToken;

use crate::turn::Item;

/// Bytes that an entry costs beside its content.
const OVERHEAD: usize = 512;

/// How much is kept; what was not asked for longest goes first.
#[derive(Debug, Clone, Copy)]
pub struct StoreLimits {
    /// Responses of all clients; `None` keeps none.
    pub responses: Option<NonZeroUsize>,
    /// Bytes of them, and of what came before them.
    pub bytes: usize,
    /// Time since a response was made; `None` is for ever.
    pub age: Option<Duration>,
}

/// The responses of all clients.
#[derive(Debug)]
pub struct ResponseStore {
    limits: StoreLimits,
    bytes: Arc<AtomicUsize>,
    shelves: Mutex<Shelves>,
}

#[derive(Debug)]
struct Shelves {
    kept: LruCache<Key, Arc<Stored>>,
    running: HashMap<Key, Running>,
}

/// Whose response it is, and its id.
type Key = (String, String);

/// A response that has come to its end.
#[derive(Debug)]
pub struct Stored {
    /// The response object as the client read it.
    pub document: Bytes,
    /// What was said in it and before it.
    pub exchange: Arc<Exchange>,
    /// Whether a conversation can go on from here.
    pub continuable: bool,
    since: Instant,
    _charge: Charge,
}

/// One request and its answer; those before it are shared with the other responses that go on from them.
#[derive(Debug)]
pub struct Exchange {
    before: Option<Arc<Exchange>>,
    items: Vec<Item>,
    inputs: usize,
    _charge: Charge,
}

/// Bytes that are held as long as this lives.
#[derive(Debug)]
struct Charge {
    bytes: usize,
    total: Arc<AtomicUsize>,
}

#[derive(Debug)]
struct Running {
    document: Bytes,
    stop: CancellationToken,
    over: CancellationToken,
}

impl ResponseStore {
    /// An empty store.
    pub fn new(limits: StoreLimits) -> Self {
        Self {
            limits,
            bytes: Arc::default(),
            shelves: Mutex::new(Shelves {
                kept: LruCache::unbounded(),
                running: HashMap::new(),
            }),
        }
    }

    /// The response object of `client`'s response, as it is now.
    pub fn document(&self, client: &str, id: &str) -> Option<Bytes> {
        let key = key(client, id);
        let mut shelves = self.lock();
        if let Some(running) = shelves.running.get(&key) {
            return Some(running.document.clone());
        }
        let stored = self.fresh(&mut shelves, &key)?;
        Some(stored.document.clone())
    }

    /// A response of `client`'s that has come to its end.
    pub fn stored(&self, client: &str, id: &str) -> Option<Arc<Stored>> {
        self.fresh(&mut self.lock(), &key(client, id))
    }

    /// Whether a response of `client`'s is being made now.
    pub fn is_running(&self, client: &str, id: &str) -> bool {
        self.lock().running.contains_key(&key(client, id))
    }

    /// Forgets a response; conversations that went on from it keep what was said. False when there is none.
    pub fn delete(&self, client: &str, id: &str) -> bool {
        self.lock().kept.pop(&key(client, id)).is_some()
    }

    /// Stops a response that is being made, and waits until it is over; does nothing to one that is over already.
    pub async fn cancel(&self, client: &str, id: &str) {
        let over = {
            let shelves = self.lock();
            let Some(running) = shelves.running.get(&key(client, id)) else {
                return;
            };
            running.stop.cancel();
            running.over.clone()
        };
        over.cancelled().await;
    }

    /// Notes that a response of `client`'s is being made; `document` is what it looks like until it is over.
    pub fn begin(self: &Arc<Self>, client: &str, id: &str, document: Bytes) -> Recording {
        let running = Running {
            document,
            stop: CancellationToken::new(),
            over: CancellationToken::new(),
        };
        let stop = running.stop.clone();
        let key = key(client, id);
        self.lock().running.insert(key.clone(), running);
        Recording {
            store: Arc::clone(self),
            key,
            stop,
        }
    }

    fn fresh(&self, shelves: &mut Shelves, key: &Key) -> Option<Arc<Stored>> {
        let stored = shelves.kept.get(key)?;
        if self.is_stale(stored) {
            shelves.kept.pop(key);
            return None;
        }
        Some(Arc::clone(stored))
    }

    fn is_stale(&self, stored: &Stored) -> bool {
        let age = self.limits.age;
        age.is_some_and(|age| stored.since.elapsed() >= age)
    }

    /// What is evicted may still be held by the conversations that went on from it, so that its bytes are freed with
    /// the last of them.
    fn keep(&self, key: Key, stored: Stored) {
        let mut shelves = self.lock();
        shelves.kept.put(key, Arc::new(stored));
        let most = self.limits.responses.map_or(0, NonZeroUsize::get);
        while shelves.kept.len() > most
            || self.bytes.load(Ordering::Relaxed) > self.limits.bytes
            || shelves
                .kept
                .peek_lru()
                .is_some_and(|(_, oldest)| self.is_stale(oldest))
        {
            if shelves.kept.pop_lru().is_none() {
                break;
            }
        }
    }

    fn charge(&self, bytes: usize) -> Charge {
        let bytes = bytes + OVERHEAD;
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
        Charge {
            bytes,
            total: Arc::clone(&self.bytes),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Shelves> {
        self.shelves
            .lock()
            .expect("nothing panics while it is held")
    }
}

fn key(client: &str, id: &str) -> Key {
    (client.to_owned(), id.to_owned())
}

impl Drop for Charge {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

impl Exchange {
    /// The whole conversation, oldest first.
    pub fn conversation(&self) -> Vec<Item> {
        let chain = std::iter::successors(Some(self), |exchange| exchange.before.as_deref());
        let exchanges: Vec<_> = chain.collect();
        let items = exchanges.iter().rev().flat_map(|exchange| &exchange.items);
        items.cloned().collect()
    }

    /// What the request brought.
    pub fn input(&self) -> &[Item] {
        &self.items[..self.inputs]
    }

    /// An item of the request or, numbered on, of its answer.
    pub fn item(&self, number: usize) -> Option<&Item> {
        self.items.get(number)
    }
}

/// In a loop, since a long conversation would be as deep a recursion.
impl Drop for Exchange {
    fn drop(&mut self) {
        let mut next = self.before.take();
        while let Some(mut only) = next.and_then(Arc::into_inner) {
            next = only.before.take();
        }
    }
}

/// A response that is being made. Dropping it is its end, whether it was kept or not.
#[derive(Debug)]
pub struct Recording {
    store: Arc<ResponseStore>,
    key: Key,
    stop: CancellationToken,
}

/// What is kept of a response that is over.
#[derive(Debug)]
pub struct Record {
    /// The response object.
    pub document: Bytes,
    /// What the conversation goes on from.
    pub before: Option<Arc<Exchange>>,
    /// Items of the request, then those of the answer.
    pub items: Vec<Item>,
    /// How many of them the request brought.
    pub inputs: usize,
    /// Whether a conversation can go on from here.
    pub continuable: bool,
}

impl Recording {
    /// Fires when the client cancels the response.
    pub fn stop(&self) -> &CancellationToken {
        &self.stop
    }

    /// Keeps what came of it.
    pub fn keep(self, record: Record) {
        let size = record.items.iter().map(Item::size).sum();
        let exchange = Exchange {
            before: record.before,
            items: record.items,
            inputs: record.inputs,
            _charge: self.store.charge(size),
        };
        let stored = Stored {
            since: Instant::now(),
            _charge: self.store.charge(record.document.len()),
            document: record.document,
            exchange: Arc::new(exchange),
            continuable: record.continuable,
        };
        self.store.keep(self.key.clone(), stored);
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if let Some(running) = self.store.lock().running.remove(&self.key) {
            running.over.cancel();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let before = previous.map(|id| Arc::clone(&store.stored("a", id).unwrap().exchange));
        let record = Record {
            document: Bytes::from_static(b"{}"),
            before,
            items: vec![said(bytes)],
            inputs: 1,
            continuable: true,
        };
        store.begin("a", id, Bytes::new()).keep(record);
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
}
