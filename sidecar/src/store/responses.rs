//! Stored responses, which clients retrieve, and the conversations that continue from them.
//! OpenAI API reference, "Responses", `store` and `previous_response_id`.
//!
//! The store keeps the conversation itself, so that any child can serve its next turn and recycling a child loses none. A
//! thread that has stayed loaded (`codex::warm`) is found by the conversation, as for a chat.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Instant;

use bytes::Bytes;
use lru::LruCache;
use tokio_util::sync::CancellationToken;

use super::archive::ArchivedResponse;
use super::conversation::{ByteCounter, ByteReservation, ConversationNode};
use super::limits::StoreLimits;
use super::response_record::ResponseRecord;
use super::shared::{ArchiveWrite, SharedResponses, TurnTokens};
use crate::turn::Item;

/// The responses of all clients.
#[derive(Debug)]
pub struct ResponseStore {
    limits: StoreLimits,
    pub(super) bytes: ByteCounter,
    /// `None` keeps the responses in the memory of the process alone.
    pub(super) shared: Option<SharedResponses>,
    inner: Mutex<StoreInner>,
}

#[derive(Debug)]
struct StoreInner {
    stored: LruCache<ResponseKey, Arc<StoredResponse>>,
    running: HashMap<ResponseKey, RunningEntry>,
    /// The bytes of each client that keeps any, under an id or in a chain that a response or a turn continues.
    clients: HashMap<String, ByteCounter>,
}

impl StoreInner {
    /// Returns the counter of a client, and forgets those of clients without any bytes.
    fn counter(&mut self, client: &str) -> ByteCounter {
        self.clients.retain(|_, bytes| Arc::strong_count(bytes) > 1);
        Arc::clone(self.clients.entry(client.to_owned()).or_default())
    }

    /// Evicts the least recently used response of the client with the most of them. Returns false when the store is
    /// empty.
    fn evict_for_count(&mut self) -> bool {
        let mut responses: HashMap<&str, usize> = HashMap::new();
        for ((client, _), _) in &self.stored {
            *responses.entry(client).or_default() += 1;
        }
        let most = responses.into_iter().max_by_key(|(_, count)| *count);
        let largest = most.map(|(client, _)| client.to_owned());
        largest.is_some_and(|client| self.evict_of(&client))
    }

    /// Evicts the least recently used response of the client with the most bytes, so that a client that fills the store
    /// makes room first. Returns false when no response may be evicted.
    ///
    /// Running turns may keep a chain whose responses are evicted already. Another client makes room for such a chain
    /// only if it keeps more than an equal part of `max_bytes`.
    fn evict_for_bytes(&mut self, max_bytes: usize) -> bool {
        let bytes_of = |client: &String| {
            let bytes = self.clients.get(client)?.load(Ordering::Relaxed);
            Some((bytes, client.clone()))
        };
        let evictable = self
            .stored
            .iter()
            .filter_map(|((client, _), _)| bytes_of(client));
        let Some((bytes, client)) = evictable.max() else {
            return false;
        };
        let largest = self.clients.keys().filter_map(bytes_of).max();
        let is_largest = largest.is_none_or(|(most, _)| bytes >= most);
        (is_largest || bytes > max_bytes / self.clients.len().max(1)) && self.evict_of(&client)
    }

    fn evict_of(&mut self, client: &str) -> bool {
        let mut oldest_first = self.stored.iter().rev().map(|(key, _)| key);
        let evicted = oldest_first.find(|(owner, _)| owner == client).cloned();
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
    _reservation: ByteReservation<2>,
}

#[derive(Debug)]
struct RunningEntry {
    document: Bytes,
    turn: TurnTokens,
}

impl ResponseStore {
    /// Returns an empty store.
    pub fn new(limits: StoreLimits) -> Self {
        Self {
            limits,
            bytes: Arc::default(),
            shared: None,
            inner: Mutex::new(StoreInner {
                stored: LruCache::unbounded(),
                running: HashMap::new(),
                clients: HashMap::new(),
            }),
        }
    }

    /// Keeps the responses in an archive too.
    #[must_use]
    pub fn archived_in(self, shared: Option<SharedResponses>) -> Self {
        Self { shared, ..self }
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

    /// Deletes a response of this process. Conversations that continue from it keep its items. Returns false for an
    /// unknown response.
    pub(super) fn forget(&self, client: &str, id: &str) -> bool {
        self.lock().stored.pop(&key(client, id)).is_some()
    }

    /// Cancels a response in progress of this process, and waits for its end. Returns false for any other.
    pub(super) async fn cancel_here(&self, client: &str, id: &str) -> bool {
        let running = self
            .lock()
            .running
            .get(&key(client, id))
            .map(|running| running.turn.clone());
        let Some(turn) = running else {
            return false;
        };
        turn.cancelled.cancel();
        // The lock is released here: the turn needs it to store its response.
        turn.ended.cancelled().await;
        true
    }

    /// Adds a response in progress of `client`; `document` is its response object until it ends.
    pub fn begin(self: &Arc<Self>, client: &str, id: &str, document: Bytes) -> RunningResponse {
        let turn = TurnTokens {
            cancelled: CancellationToken::new(),
            ended: CancellationToken::new(),
        };
        let running = RunningEntry {
            document,
            turn: turn.clone(),
        };
        let key = key(client, id);
        self.lock().running.insert(key.clone(), running);
        RunningResponse {
            store: Arc::clone(self),
            key,
            is_shared: false,
            turn,
        }
    }

    /// Adds a response of the archive. The nodes of its conversation that this process has are shared.
    pub(super) fn import(&self, client: &str, id: &str, archived: ArchivedResponse) {
        let mut inner = self.lock();
        let counter = inner.counter(client);
        let mut missing = Vec::new();
        let mut node = None;
        for archived in archived.nodes {
            node = inner
                .stored
                .peek(&key(client, &archived.id))
                .map(|stored| Arc::clone(&stored.node));
            if node.is_some() {
                break;
            }
            missing.push(archived);
        }
        drop(inner);
        let reserve = |bytes| ByteReservation::new(bytes, [&self.bytes, &counter]);
        for archived in missing.into_iter().rev() {
            let size = archived.items.iter().map(Item::size).sum();
            node = Some(Arc::new(ConversationNode {
                id: archived.id.into(),
                previous: node,
                input_len: archived.input_len.min(archived.items.len()),
                items: archived.items,
                _reservation: reserve(size),
            }));
        }
        if let Some(node) = node {
            let stored = StoredResponse {
                since: Instant::now(),
                _reservation: reserve(archived.document.len()),
                document: archived.document,
                node,
                continuable: archived.continuable,
            };
            let stored = Arc::new(stored);
            let key = key(client, id);
            self.insert(key.clone(), Arc::clone(&stored));
            // For the request that asks for it, even where its client keeps most.
            self.lock().stored.get_or_insert(key, || stored);
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
    fn insert(&self, key: ResponseKey, stored: Arc<StoredResponse>) {
        let mut inner = self.lock();
        inner.stored.put(key, stored);
        let max_responses = self.limits.responses.map_or(0, NonZeroUsize::get);
        // Expired responses of any client first, before a response that its client can still use.
        while inner
            .stored
            .peek_lru()
            .is_some_and(|(_, oldest)| self.is_expired(oldest))
        {
            inner.stored.pop_lru();
        }
        while inner.stored.len() > max_responses && inner.evict_for_count() {}
        let max_bytes = self.limits.bytes;
        while self.bytes.load(Ordering::Relaxed) > max_bytes && inner.evict_for_bytes(max_bytes) {}
    }

    /// Returns the bytes that a client keeps.
    #[cfg(test)]
    pub(super) fn bytes_of(&self, client: &str) -> usize {
        let inner = self.lock();
        let bytes = inner.clients.get(client);
        bytes.map_or(0, |bytes| bytes.load(Ordering::Relaxed))
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
    /// Whether the archive has the response while it runs.
    is_shared: bool,
    turn: TurnTokens,
}

impl RunningResponse {
    /// Returns the token that fires when the client cancels the response.
    pub fn cancelled(&self) -> &CancellationToken {
        &self.turn.cancelled
    }

    /// Lets other sidecars answer with `document` until the response ends: its client polls for it.
    pub fn announce(&mut self, document: Bytes) {
        if let Some(shared) = &self.store.shared {
            shared.begin(&self.key.0, &self.key.1, document, self.turn.clone());
            self.is_shared = true;
        }
    }

    /// Stores the response, and ends it. Returns the write to the archive, if there is one.
    pub fn store(mut self, record: ResponseRecord) -> ArchiveWrite {
        self.is_shared = false;
        let shared = self.store.shared.as_ref();
        let write = shared.map(|shared| shared.put(&self.key.0, &self.key.1, &record));
        let size = record.items.iter().map(Item::size).sum();
        let client = self.store.lock().counter(&self.key.0);
        let reserve = |bytes| ByteReservation::new(bytes, [&self.store.bytes, &client]);
        let node = ConversationNode {
            id: self.key.1.as_str().into(),
            previous: record.previous,
            items: record.items,
            input_len: record.input_len,
            _reservation: reserve(size),
        };
        let stored = StoredResponse {
            since: Instant::now(),
            _reservation: reserve(record.document.len()),
            document: record.document,
            node: Arc::new(node),
            continuable: record.continuable,
        };
        self.store.insert(self.key.clone(), Arc::new(stored));
        write.unwrap_or_default()
    }
}

impl Drop for RunningResponse {
    fn drop(&mut self) {
        // After `store`, if it was called: a request for the id finds the response in one of the two maps at any time.
        if let Some(running) = self.store.lock().running.remove(&self.key) {
            running.turn.ended.cancel();
        }
        if let Some(shared) = self.store.shared.as_ref().filter(|_| self.is_shared) {
            shared.end(&self.key.0, &self.key.1);
        }
    }
}
