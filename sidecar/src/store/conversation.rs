//! Conversations as chains of nodes: each stored response adds one node and shares the earlier ones with others.
//! A chain of n turns takes memory for n nodes, however many of its responses are still stored under their ids.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::turn::Item;

/// Bytes that an entry takes in addition to its content: ids, map entries and reference counts.
const OVERHEAD_BYTES: usize = 512;

/// A request with the output of its response. Later responses that continue from it share the earlier nodes.
#[derive(Debug)]
pub struct ConversationNode {
    /// The id of its response.
    pub(super) id: Box<str>,
    pub(super) previous: Option<Arc<ConversationNode>>,
    /// The items of the request, then those of the output.
    pub(super) items: Vec<Item>,
    /// Items of the request.
    pub(super) input_len: usize,
    /// Towards the store and the client.
    pub(super) _reservation: ByteReservation<2>,
}

/// A number of bytes that several reservations make up.
pub(super) type ByteCounter = Arc<AtomicUsize>;

/// Bytes that count towards these counters until the reservation is dropped: those of a node as long as any response or
/// turn keeps its chain, also after its own response is gone.
#[derive(Debug)]
pub(super) struct ByteReservation<const N: usize> {
    bytes: usize,
    counters: [ByteCounter; N],
}

impl<const N: usize> ByteReservation<N> {
    /// Adds `bytes` and the overhead of an entry to the counters.
    pub(super) fn new(content_bytes: usize, counters: [&ByteCounter; N]) -> Self {
        let bytes = content_bytes + OVERHEAD_BYTES;
        for counter in counters {
            // Relaxed: the numbers are only compared, and order no other memory.
            counter.fetch_add(bytes, Ordering::Relaxed);
        }
        Self {
            bytes,
            counters: counters.map(Arc::clone),
        }
    }
}

impl<const N: usize> Drop for ByteReservation<N> {
    fn drop(&mut self) {
        for counter in &self.counters {
            counter.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

impl ConversationNode {
    /// Returns the items of the whole conversation, oldest first.
    pub fn conversation(&self) -> Vec<Item> {
        let newest_first: Vec<_> =
            std::iter::successors(Some(self), |node| node.previous.as_deref()).collect();
        newest_first
            .into_iter()
            .rev()
            .flat_map(|node| &node.items)
            .cloned()
            .collect()
    }

    /// Returns the items of the request.
    pub fn input(&self) -> &[Item] {
        &self.items[..self.input_len]
    }

    /// Returns an item by its number: the items of the request are counted first, then those of the output.
    pub fn item(&self, number: usize) -> Option<&Item> {
        self.items.get(number)
    }
}

impl Drop for ConversationNode {
    fn drop(&mut self) {
        // A loop: the derived drop of a long chain would recurse once a node and overflow the stack.
        let mut next = self.previous.take();
        while let Some(mut node) = next.and_then(Arc::into_inner) {
            next = node.previous.take();
        }
    }
}
