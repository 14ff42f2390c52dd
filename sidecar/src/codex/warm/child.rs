//! The part of a child in the warm threads: it keeps threads, and receives the turns that continue them.

use std::sync::Arc;

use tokio::sync::mpsc;
use tokio::time::Instant;

use super::counts::{Eviction, Miss};
use super::threads::{ChildId, Shared, WarmThreads};
use crate::codex::app_server::{KeptThread, TurnKey};
use crate::codex::turn_queue::QueuedTurn;

/// Turns that may wait for the connection of a child, which takes one within microseconds.
const CAPACITY: usize = 64;

/// The warm threads of one child. Its drop removes them, so that no turn is sent to a child that has ended.
#[derive(Debug)]
pub(in crate::codex) struct WarmChild {
    shared: Arc<Shared>,
    id: ChildId,
    turns: mpsc::Sender<QueuedTurn>,
}

/// The turns that continue a thread of a child.
pub(in crate::codex) type ContinuingTurns = mpsc::Receiver<QueuedTurn>;

impl WarmThreads {
    /// Adds a child; `None` if no thread stays loaded.
    pub(in crate::codex) fn add_child(&self) -> Option<(WarmChild, ContinuingTurns)> {
        let (shared, id) = self.new_child()?;
        let (turns, receiver) = mpsc::channel(CAPACITY);
        Some((WarmChild { shared, id, turns }, receiver))
    }
}

impl WarmChild {
    /// Keeps a thread of `client` for its next request.
    pub(in crate::codex) fn keep(&self, client: &Arc<str>, thread: KeptThread) {
        self.shared.insert(self.id, &self.turns, client, thread);
    }

    /// Removes a thread that the child has ended.
    pub(in crate::codex) fn remove(&self, thread: TurnKey) {
        self.shared.remove(self.id, thread, Eviction::Child);
    }

    /// Returns the threads that the child has to give up: those that nobody has continued in time, and those that have made
    /// room for others.
    pub(in crate::codex) fn take_given_up(&self, now: Instant) -> Vec<TurnKey> {
        self.shared.take_given_up(self.id, now)
    }

    /// Removes the older half of the child's threads, and returns them.
    pub(in crate::codex) fn take_older_half(&self) -> Vec<TurnKey> {
        self.shared.take_older_half(self.id)
    }

    /// Counts a turn that was sent to this child, by whether it continues a thread.
    pub(in crate::codex) fn count(&self, is_continued: bool) {
        if is_continued {
            self.shared.counts().hit();
        } else {
            self.shared.counts().miss(Miss::Lost);
        }
    }
}

impl Drop for WarmChild {
    fn drop(&mut self) {
        self.shared.remove_child(self.id);
    }
}
