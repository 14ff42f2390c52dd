//! The records of a rollout file that wait for the notifications that come before them.
//!
//! Codex writes a record when it sends the notification of the same item, so that the file may be ahead of the notifications:
//! the end of a response would overtake the text of the response.

use std::collections::{HashSet, VecDeque};

use super::wire;

/// The records of a turn, oldest first.
#[derive(Debug, Default)]
pub(super) struct RecordQueue {
    waiting: VecDeque<String>,
    /// The ids of the items with an `item/completed` so far.
    completed: HashSet<String>,
}

impl RecordQueue {
    /// Adds lines of the file.
    pub(super) fn push(&mut self, lines: &str) {
        self.waiting.extend(lines.lines().map(str::to_owned));
    }

    /// Notes that the notifications about an item have arrived.
    pub(super) fn on_completed(&mut self, item: String) {
        self.completed.insert(item);
    }

    /// Takes the next line, if the notifications before it have arrived.
    pub(super) fn take_ready(&mut self) -> Option<String> {
        let awaited = wire::RolloutRecord::parse(self.waiting.front()?)
            .and_then(|record| record.awaited_item());
        match awaited {
            Some(item) if !self.completed.contains(item.as_str()) => None,
            Some(_) | None => self.waiting.pop_front(),
        }
    }

    /// Takes the next line.
    pub(super) fn take(&mut self) -> Option<String> {
        self.waiting.pop_front()
    }
}
