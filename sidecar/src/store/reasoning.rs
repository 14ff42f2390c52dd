//! Reasoning items of chats, cached for the next request of the same client.
//! OpenAI API reference, "Reasoning models": the items go back to the model with the outputs of the calls. A chat
//! message has no field for them.

use std::iter;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use lru::LruCache;
use sha2::{Digest, Sha256};

use super::conversation::ByteReservation;
use crate::turn::{Event, Outcome, ReasoningItem, TurnObserver};

/// Bytes of all cached items. A reasoning item takes a few kilobytes, so that about 4,000 of them fit.
const MAX_BYTES: usize = 16 << 20;

/// Age after which an item is not used: the conversation continues without the old reasoning.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// The reasoning items of all clients. When the cache is full, the least recently used ones are evicted.
#[derive(Debug)]
pub struct ReasoningCache {
    bytes: Arc<AtomicUsize>,
    entries: Mutex<LruCache<CacheKey, CachedReasoning>>,
}

/// The id of the client, and the place of the items in its conversation.
type CacheKey = (String, Place);

/// The call or the message that the items came before.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Place {
    /// The id of the call.
    Call(String),
    /// The SHA-256 hash of the summary and the text, without white space: clients trim texts.
    Text([u8; 32]),
}

impl Place {
    fn text<'a>(summary: impl Iterator<Item = &'a str>, text: &str) -> Self {
        let mut hash = Sha256::new();
        for word in summary.flat_map(str::split_whitespace) {
            hash.update(word);
        }
        hash.update([0xff]); // In no UTF-8 text.
        for word in text.split_whitespace() {
            hash.update(word);
        }
        Self::Text(hash.finalize().into())
    }

    fn size(&self) -> usize {
        match self {
            Self::Call(id) => id.len(),
            Self::Text(hash) => hash.len(),
        }
    }
}

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
    pub fn before_call(&self, client: &str, call_id: &str) -> Vec<ReasoningItem> {
        self.get(client, Place::Call(call_id.to_owned()))
    }

    /// Returns the items that came before a message of this text to `client`, with this summary; empty when they are
    /// not cached.
    pub fn before_text(&self, client: &str, summary: &str, text: &str) -> Vec<ReasoningItem> {
        self.get(client, Place::text(iter::once(summary), text))
    }

    fn get(&self, client: &str, place: Place) -> Vec<ReasoningItem> {
        self.lock()
            .get(&(client.to_owned(), place))
            .filter(|entry| entry.since.elapsed() < MAX_AGE)
            .map(|entry| entry.items.clone())
            .unwrap_or_default()
    }

    fn insert(&self, client: &str, place: Place, items: Vec<ReasoningItem>) {
        let item_bytes: usize = items.iter().map(ReasoningItem::size).sum();
        let size = client.len() + place.size() + item_bytes;
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
        entries.put((client.to_owned(), place), entry);
        while self.bytes.load(Ordering::Relaxed) > MAX_BYTES {
            if entries.pop_lru().is_none() {
                break;
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, LruCache<CacheKey, CachedReasoning>> {
        self.entries
            .lock()
            .expect("no code panics while it holds the lock")
    }
}

/// Observes the turn of one chat, and caches the reasoning items that come before its tool calls or its text.
#[derive(Debug)]
pub struct ReasoningCollector {
    cache: Arc<ReasoningCache>,
    client: String,
    /// The items since the last call.
    pending: Vec<ReasoningItem>,
    /// The text of the answer.
    text: String,
}

impl ReasoningCollector {
    /// Returns the observer of a turn of `client`.
    pub fn new(cache: Arc<ReasoningCache>, client: String) -> Self {
        Self {
            cache,
            client,
            pending: Vec::new(),
            text: String::new(),
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
                let place = Place::Call(call.call_id.clone());
                self.cache.insert(&self.client, place, items);
            }
            Event::Text(delta) => self.text.push_str(delta),
            // A client without summaries has no field that says whose reasoning a message had.
            Event::Finished(Outcome::Completed { .. }) if has_summary(&self.pending) => {
                let items = std::mem::take(&mut self.pending);
                let summary = items.iter().flat_map(|item| &item.summary);
                let place = Place::text(summary.map(String::as_str), &self.text);
                self.cache.insert(&self.client, place, items);
            }
            _ => {}
        }
    }
}

fn has_summary(items: &[ReasoningItem]) -> bool {
    items.iter().any(|item| !item.summary.is_empty())
}
