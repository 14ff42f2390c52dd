//! Conversations as chains of exchanges: each response adds its own, and shares those before it with others.
//! A chain of n turns takes memory for n exchanges, whichever of its responses are still kept by their ids.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::turn::Item;

/// Bytes that an entry costs beside its content.
const OVERHEAD: usize = 512;

/// One request and its answer; those before it are shared with the other responses that go on from them.
#[derive(Debug)]
pub struct ConversationNode {
    pub(super) before: Option<Arc<ConversationNode>>,
    pub(super) items: Vec<Item>,
    pub(super) inputs: usize,
    pub(super) charge: ByteReservation,
}

/// Bytes that are held as long as this lives.
#[derive(Debug)]
pub(super) struct ByteReservation {
    bytes: usize,
    total: Arc<AtomicUsize>,
}

impl ByteReservation {
    /// Adds `bytes` to `total`, and takes them away again when it is dropped.
    pub(super) fn new(bytes: usize, total: &Arc<AtomicUsize>) -> Self {
        let bytes = bytes + OVERHEAD;
        total.fetch_add(bytes, Ordering::Relaxed);
        Self {
            bytes,
            total: Arc::clone(total),
        }
    }

    /// What it added.
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
impl Drop for ConversationNode {
    fn drop(&mut self) {
        let mut next = self.before.take();
        while let Some(mut only) = next.and_then(Arc::into_inner) {
            next = only.before.take();
        }
    }
}
