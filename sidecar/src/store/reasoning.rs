//! What models thought before they called tools, kept for the next request of the same client.
//! OpenAI API reference, "Reasoning models": the items go back to the model with the outputs of the calls; a chat has
//! no field that could carry them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use quick_cache::Weighter;
use quick_cache::sync::Cache;

use crate::turn::{Event, ReasoningItem, TurnObserver};

/// Bytes of all that is kept; what was not asked for longest goes first.
const MAX_BYTES: u64 = 16 << 20;

/// Entries that are expected at that size; a reasoning item is a few kilobytes.
const EXPECTED_ENTRIES: usize = 4096;

/// After this time a conversation goes on without its old thoughts.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);

/// The thoughts of all clients.
#[derive(Debug)]
pub struct ReasoningCache(Cache<Key, Entry, Bytes>);

/// Whose call it was, and its id.
type Key = (String, String);

#[derive(Debug, Clone)]
struct Entry {
    thoughts: Arc<[ReasoningItem]>,
    since: Instant,
}

#[derive(Debug, Clone)]
struct Bytes;

impl Weighter<Key, Entry> for Bytes {
    fn weight(&self, (client, call_id): &Key, entry: &Entry) -> u64 {
        const OVERHEAD: usize = 256;
        let thoughts: usize = entry.thoughts.iter().map(ReasoningItem::size).sum();
        (OVERHEAD + client.len() + call_id.len() + thoughts) as u64
    }
}

impl Default for ReasoningCache {
    fn default() -> Self {
        Self(Cache::with_weighter(EXPECTED_ENTRIES, MAX_BYTES, Bytes))
    }
}

impl ReasoningCache {
    /// What the model thought before it made this call of `client`; empty when that is not known any more.
    pub fn for_call(&self, client: &str, call_id: &str) -> Vec<ReasoningItem> {
        let entry = self.0.get(&(client.to_owned(), call_id.to_owned()));
        let fresh = entry.filter(|entry| entry.since.elapsed() < MAX_AGE);
        fresh.map_or_else(Vec::new, |entry| entry.thoughts.to_vec())
    }
}

/// Listens to one answer, and keeps what was thought before its calls.
#[derive(Debug, Default)]
pub struct ReasoningCollector {
    recall: Arc<ReasoningCache>,
    client: String,
    thoughts: Vec<ReasoningItem>,
}

impl ReasoningCollector {
    /// Of an answer to `client`.
    pub fn new(recall: Arc<ReasoningCache>, client: String) -> Self {
        Self {
            recall,
            client,
            thoughts: Vec::new(),
        }
    }
}

impl TurnObserver for ReasoningCollector {
    fn on_event(&mut self, event: &Event) {
        match event {
            Event::ReasoningItem(item) if item.encrypted_content.is_some() => {
                self.thoughts.push(item.clone());
            }
            Event::ToolCall(call) if !self.thoughts.is_empty() => {
                let entry = Entry {
                    thoughts: std::mem::take(&mut self.thoughts).into(),
                    since: Instant::now(),
                };
                let key = (self.client.clone(), call.call_id.clone());
                self.recall.0.insert(key, entry);
            }
            _ => {}
        }
    }
}
