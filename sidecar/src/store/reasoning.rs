//! Reasoning items that came before tool calls, cached for the next request of the same client.
//! OpenAI API reference, "Reasoning models": the items go back to the model with the outputs of the calls. A chat
//! message has no field for them.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use lru::LruCache;

use super::conversation::ByteReservation;
use crate::turn::{Event, ReasoningItem, TurnObserver};

/// Bytes of all cached items. A reasoning item takes a few kilobytes, so that about 4,000 of them fit.
const MAX_BYTES: usize = 16 << 20;

/// Age after which an item is not used: the conversation continues without the old reasoning.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// The reasoning items of all clients. When the cache is full, the least recently used ones are evicted.
#[derive(Debug)]
pub struct ReasoningCache {
    bytes: Arc<AtomicUsize>,
    entries: Mutex<LruCache<CallKey, CachedReasoning>>,
}

/// The id of the client, and that of the call.
type CallKey = (String, String);

#[derive(Debug)]
struct CachedReasoning {
    items: Vec<ReasoningItem>,
    since: Instant,
    /// Frees the bytes when the entry is dropped.
    _reservation: ByteReservation<1>,
}

impl Default for ReasoningCache {
    fn default() -> Self {
        Self {
            bytes: Arc::default(),
            entries: Mutex::new(LruCache::unbounded()),
        }
    }
}

impl ReasoningCache {
    /// Returns the items that came before this call of `client`; empty when they are not cached.
    pub fn for_call(&self, client: &str, call_id: &str) -> Vec<ReasoningItem> {
        self.lock()
            .get(&(client.to_owned(), call_id.to_owned()))
            .filter(|entry| entry.since.elapsed() < MAX_AGE)
            .map(|entry| entry.items.clone())
            .unwrap_or_default()
    }

    fn insert(&self, client: &str, call_id: &str, items: Vec<ReasoningItem>) {
        let item_bytes: usize = items.iter().map(ReasoningItem::size).sum();
        let size = client.len() + call_id.len() + item_bytes;
        // One entry that does not fit would otherwise evict all others before itself.
        if size > MAX_BYTES {
            return;
        }
        let entry = CachedReasoning {
            items,
            since: Instant::now(),
            _reservation: ByteReservation::new(size, [&self.bytes]),
        };
        let mut entries = self.lock();
        entries.put((client.to_owned(), call_id.to_owned()), entry);
        while self.bytes.load(Ordering::Relaxed) > MAX_BYTES {
            if entries.pop_lru().is_none() {
                break;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<CallKey, CachedReasoning>> {
        self.entries
            .lock()
            .expect("no code panics while it holds the lock")
    }
}

/// Observes the turn of one chat, and caches the reasoning items that come before its tool calls.
#[derive(Debug)]
pub struct ReasoningCollector {
    cache: Arc<ReasoningCache>,
    client: String,
    /// The items since the last call.
    pending: Vec<ReasoningItem>,
}

impl ReasoningCollector {
    /// Returns the observer of a turn of `client`.
    pub fn new(cache: Arc<ReasoningCache>, client: String) -> Self {
        Self {
            cache,
            client,
            pending: Vec::new(),
        }
    }
}

impl TurnObserver for ReasoningCollector {
    fn on_event(&mut self, event: &Event) {
        match event {
            // Without the encrypted content the provider cannot read the item.
            Event::ReasoningItem(item) if item.encrypted_content.is_some() => {
                self.pending.push(item.clone());
            }
            // The first call after the items has them all; later calls of the same message have none.
            Event::ToolCall(call) if !self.pending.is_empty() => {
                let items = std::mem::take(&mut self.pending);
                self.cache.insert(&self.client, &call.call_id, items);
            }
            _ => {}
        }
    }
}
