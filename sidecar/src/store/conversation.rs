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
    pub(super) previous: Option<Arc<ConversationNode>>,
    /// The items of the request, then those of the output.
    pub(super) items: Vec<Item>,
    /// Items of the request.
    pub(super) input_len: usize,
    pub(super) reservation: ByteReservation,
}

/// Bytes that count towards a total until the reservation is dropped.
#[derive(Debug)]
pub(super) struct ByteReservation {
    bytes: usize,
    total: Arc<AtomicUsize>,
}

impl ByteReservation {
    /// Adds `bytes` and the overhead of an entry to `total`.
    pub(super) fn new(content_bytes: usize, total: &Arc<AtomicUsize>) -> Self {
        let bytes = content_bytes + OVERHEAD_BYTES;
        // Relaxed: the total is only compared with a limit, and orders no other memory.
        total.fetch_add(bytes, Ordering::Relaxed);
        Self {
            bytes,
            total: Arc::clone(total),
        }
    }

    /// Returns the bytes that the reservation added, with the overhead.
    pub(super) fn bytes(&self) -> usize {
        self.bytes
    }
}

impl Drop for ByteReservation {
    fn drop(&mut self) {
        self.total.fetch_sub(self.bytes, Ordering::Relaxed);
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
