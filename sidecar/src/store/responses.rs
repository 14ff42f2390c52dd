//! Stored responses, which clients retrieve, and the conversations that continue from them.
//! OpenAI API reference, "Responses", `store` and `previous_response_id`.
//!
//! A conversation has no thread in a Codex child. Each request starts an ephemeral thread, so any child can serve the
//! next turn, recycling a child loses no conversation, and an idle conversation takes no memory of a child. A kept
//! thread would save little: with a model that answers at once, a turn took 28 ms alone and 32 ms after 19 earlier
//! turns of 2 KB.

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

/// The limits of the store. Beyond them, the least recently used responses are evicted.
#[derive(Debug, Clone, Copy)]
pub struct StoreLimits {
    /// Responses of all clients; `None` stores no response.
    pub responses: Option<NonZeroUsize>,
    /// Bytes of the responses and of the conversations that they continue.
    pub bytes: usize,
    /// Maximum age of a response; `None` is unlimited.
    pub age: Option<Duration>,
}

/// The responses of all clients.
#[derive(Debug)]
pub struct ResponseStore {
    limits: StoreLimits,
    pub(super) bytes: Arc<AtomicUsize>,
    inner: Mutex<StoreInner>,
}

#[derive(Debug)]
struct StoreInner {
    stored: LruCache<ResponseKey, Arc<StoredResponse>>,
    running: HashMap<ResponseKey, RunningEntry>,
}

impl StoreInner {
    /// Evicts the least recently used response of the client with the most stored bytes, so that a client that fills
    /// the store evicts its own responses first. Returns false when the store is empty.
    fn evict(&mut self) -> bool {
        let mut bytes_by_client: HashMap<&str, usize> = HashMap::new();
        for ((client, _), stored) in &self.stored {
            *bytes_by_client.entry(client).or_default() += stored.size();
        }
        let Some((largest, _)) = bytes_by_client.into_iter().max_by_key(|(_, bytes)| *bytes) else {
            return false;
        };
        let mut oldest_first = self.stored.iter().rev().map(|(key, _)| key);
        let evicted = oldest_first.find(|(client, _)| client == largest).cloned();
        evicted.is_some_and(|key| self.stored.pop(&key).is_some())
    }
}

/// The id of the client, and that of the response.
type ResponseKey = (String, String);

/// A response that has ended.
#[derive(Debug)]
pub struct StoredResponse {
    /// The response object as it was sent to the client.
    pub document: Bytes,
    /// Its items, and the conversation that it continued.
    pub node: Arc<ConversationNode>,
    /// Whether a conversation can continue from it.
    pub continuable: bool,
    since: Instant,
    reservation: ByteReservation,
}

impl StoredResponse {
    /// Bytes of the document and of the items that it adds to its conversation.
    fn size(&self) -> usize {
        self.reservation.bytes() + self.node.reservation.bytes()
    }
}

#[derive(Debug)]
struct RunningEntry {
    document: Bytes,
    /// Fired to cancel the turn.
    cancelled: CancellationToken,
    /// Fired when the turn has ended and its response is stored.
    ended: CancellationToken,
}

impl ResponseStore {
    /// Returns an empty store.
    pub fn new(limits: StoreLimits) -> Self {
        Self {
            limits,
            bytes: Arc::default(),
            inner: Mutex::new(StoreInner {
                stored: LruCache::unbounded(),
                running: HashMap::new(),
            }),
        }
    }

    /// Returns the current response object of a response of `client`.
    pub fn document(&self, client: &str, id: &str) -> Option<Bytes> {
        let key = key(client, id);
        let mut inner = self.lock();
        if let Some(running) = inner.running.get(&key) {
            return Some(running.document.clone());
        }
        let stored = self.fresh(&mut inner, &key)?;
        Some(stored.document.clone())
    }

    /// Returns a response of `client` that has ended.
    pub fn stored(&self, client: &str, id: &str) -> Option<Arc<StoredResponse>> {
        self.fresh(&mut self.lock(), &key(client, id))
    }

    /// Whether a response of `client` is in progress.
    pub fn is_running(&self, client: &str, id: &str) -> bool {
        self.lock().running.contains_key(&key(client, id))
    }

    /// Deletes a response. Conversations that continue from it keep its items. Returns false for an unknown response.
    pub fn delete(&self, client: &str, id: &str) -> bool {
        self.lock().stored.pop(&key(client, id)).is_some()
    }

    /// Cancels a response in progress, and waits for its end. A response that has ended is left unchanged.
    pub async fn cancel(&self, client: &str, id: &str) {
        let ended = {
            let inner = self.lock();
            let Some(running) = inner.running.get(&key(client, id)) else {
                return;
            };
            running.cancelled.cancel();
            running.ended.clone()
        };
        // The lock is released here: the turn needs it to store its response.
        ended.cancelled().await;
    }

    /// Adds a response in progress of `client`; `document` is its response object until it ends.
    pub fn begin(self: &Arc<Self>, client: &str, id: &str, document: Bytes) -> RunningResponse {
        let running = RunningEntry {
            document,
            cancelled: CancellationToken::new(),
            ended: CancellationToken::new(),
        };
        let cancelled = running.cancelled.clone();
        let key = key(client, id);
        self.lock().running.insert(key.clone(), running);
        RunningResponse {
            store: Arc::clone(self),
            key,
            cancelled,
        }
    }

    fn fresh(&self, inner: &mut StoreInner, key: &ResponseKey) -> Option<Arc<StoredResponse>> {
        let stored = inner.stored.get(key)?;
        if self.is_expired(stored) {
            inner.stored.pop(key);
            return None;
        }
        Some(Arc::clone(stored))
    }

    fn is_expired(&self, stored: &StoredResponse) -> bool {
        self.limits
            .age
            .is_some_and(|age| stored.since.elapsed() >= age)
    }

    /// Stores a response, and evicts others beyond the limits. The items of an evicted response may be shared with
    /// conversations that continue from it; their bytes are freed with the last of those.
    fn insert(&self, key: ResponseKey, stored: StoredResponse) {
        let mut inner = self.lock();
        inner.stored.put(key, Arc::new(stored));
        let max_responses = self.limits.responses.map_or(0, NonZeroUsize::get);
        // Expired responses of any client first, before a response that its client can still use.
        while inner
            .stored
            .peek_lru()
            .is_some_and(|(_, oldest)| self.is_expired(oldest))
        {
            inner.stored.pop_lru();
        }
        while inner.stored.len() > max_responses
            || self.bytes.load(Ordering::Relaxed) > self.limits.bytes
        {
            if !inner.evict() {
                break;
            }
        }
    }

    fn reserve(&self, bytes: usize) -> ByteReservation {
        ByteReservation::new(bytes, &self.bytes)
    }

    fn lock(&self) -> MutexGuard<'_, StoreInner> {
        self.inner
            .lock()
            .expect("no code panics while it holds the lock")
    }
}

fn key(client: &str, id: &str) -> ResponseKey {
    (client.to_owned(), id.to_owned())
}

/// A response in progress. Dropping it ends the response, stored or not.
#[derive(Debug)]
pub struct RunningResponse {
    store: Arc<ResponseStore>,
    key: ResponseKey,
    cancelled: CancellationToken,
}

/// The parts of an ended response that are stored.
#[derive(Debug)]
pub struct ResponseRecord {
    /// The response object.
    pub document: Bytes,
    /// The node that the conversation continues.
    pub previous: Option<Arc<ConversationNode>>,
    /// The items of the request, then those of the output.
    pub items: Vec<Item>,
    /// Items of the request.
    pub input_len: usize,
    /// Whether a conversation can continue from the response.
    pub continuable: bool,
}

impl RunningResponse {
    /// Returns the token that fires when the client cancels the response.
    pub fn cancelled(&self) -> &CancellationToken {
        &self.cancelled
    }

    /// Stores the response, and ends it.
    pub fn store(self, record: ResponseRecord) {
        let size = record.items.iter().map(Item::size).sum();
        let node = ConversationNode {
            previous: record.previous,
            items: record.items,
            input_len: record.input_len,
            reservation: self.store.reserve(size),
        };
        let stored = StoredResponse {
            since: Instant::now(),
            reservation: self.store.reserve(record.document.len()),
            document: record.document,
            node: Arc::new(node),
            continuable: record.continuable,
        };
        self.store.insert(self.key.clone(), stored);
    }
}

impl Drop for RunningResponse {
    fn drop(&mut self) {
        // After `store`, if it was called: a request for the id finds the response in one of the two maps at any time.
        if let Some(running) = self.store.lock().running.remove(&self.key) {
            running.ended.cancel();
        }
    }
}
