//! Responses that clients may come back to: what they were, and the conversations that go on from them.
//! OpenAI API reference, "Responses", `store` and `previous_response_id`.
//!
//! No thread of a child is kept for a conversation: one ephemeral thread a request is the contract with Codex, so any
//! child can serve the next turn, a recycled one loses nothing, and a conversation at rest costs no child memory. There
//! is little to save: with a model that answers at once, a turn took 28 ms on its own and 32 ms behind 19 others of 2 KB.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use bytes::Bytes;
use lru::LruCache;
use tokio_util::sync::CancellationToken;

use super::conversation::{ByteReservation, ConversationNode};
use crate::turn::Item;

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
    pub(super) bytes: Arc<AtomicUsize>,
    shelves: Mutex<Inner>,
}

#[derive(Debug)]
struct Inner {
    kept: LruCache<Key, Arc<Stored>>,
    running: HashMap<Key, Running>,
}

impl Inner {
    /// Forgets one response of the client that has the most on the shelf, the one that was not asked for longest: who
    /// fills it makes room. False when there is none.
    fn evict(&mut self) -> bool {
        let mut held: HashMap<&str, usize> = HashMap::new();
        for ((client, _), stored) in &self.kept {
            *held.entry(client).or_default() += stored.size();
        }
        let Some((heaviest, _)) = held.into_iter().max_by_key(|(_, bytes)| *bytes) else {
            return false;
        };
        let mut oldest_first = self.kept.iter().rev().map(|(key, _)| key);
        let evicted = oldest_first.find(|(client, _)| client == heaviest).cloned();
        evicted.is_some_and(|key| self.kept.pop(&key).is_some())
    }
}

/// Whose response it is, and its id.
type Key = (String, String);

/// A response that has come to its end.
#[derive(Debug)]
pub struct Stored {
    /// The response object as the client read it.
    pub document: Bytes,
    /// What was said in it and before it.
    pub exchange: Arc<ConversationNode>,
    /// Whether a conversation can go on from here.
    pub continuable: bool,
    since: Instant,
    charge: ByteReservation,
}

impl Stored {
    /// Bytes that are counted for the document and for what it adds to its conversation.
    fn size(&self) -> usize {
        self.charge.bytes() + self.exchange.charge.bytes()
    }
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
            shelves: Mutex::new(Inner {
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

    fn fresh(&self, shelves: &mut Inner, key: &Key) -> Option<Arc<Stored>> {
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
        while shelves
            .kept
            .peek_lru()
            .is_some_and(|(_, oldest)| self.is_stale(oldest))
        {
            shelves.kept.pop_lru();
        }
        while shelves.kept.len() > most || self.bytes.load(Ordering::Relaxed) > self.limits.bytes {
            if !shelves.evict() {
                break;
            }
        }
    }

    fn charge(&self, bytes: usize) -> ByteReservation {
        ByteReservation::new(bytes, &self.bytes)
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.shelves
            .lock()
            .expect("nothing panics while it is held")
    }
}

fn key(client: &str, id: &str) -> Key {
    (client.to_owned(), id.to_owned())
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
    pub before: Option<Arc<ConversationNode>>,
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
        let exchange = ConversationNode {
            before: record.before,
            items: record.items,
            inputs: record.inputs,
            charge: self.store.charge(size),
        };
        let stored = Stored {
            since: Instant::now(),
            charge: self.store.charge(record.document.len()),
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
