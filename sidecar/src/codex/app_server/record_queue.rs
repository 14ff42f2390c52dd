//! The records of a rollout file that wait for the notifications that come before them.
//!
//! Codex writes a record when it sends the notification of the same item, so that the file may be ahead of the notifications:
//! the end of a response would overtake the text of the response.

use std::collections::{HashSet, VecDeque};

use super::wire;
use crate::turn::Tool;

/// The records of a turn, oldest first.
#[derive(Debug, Default)]
pub(super) struct RecordQueue {
    waiting: VecDeque<String>,
    /// The ids of the items with an `item/completed`, and of the calls with an `item/tool/call`, so far.
    completed: HashSet<String>,
}

impl RecordQueue {
    /// Adds lines of the file.
    pub(super) fn push(&mut self, lines: &str) {
        self.waiting.extend(lines.lines().map(str::to_owned));
    }

    /// Notes that the last notification about an item, or the request of a call, has arrived.
    pub(super) fn on_completed(&mut self, id: String) {
        self.completed.insert(id);
    }

    /// Takes the next line, if the notifications before it have arrived. `offered` are the tools of the turn.
    pub(super) fn take_ready(&mut self, offered: &[Tool]) -> Option<String> {
        let awaited = wire::RolloutRecord::parse(self.waiting.front()?)
            .and_then(|record| record.awaited_id(offered));
        match awaited {
            Some(id) if !self.completed.contains(id.as_str()) => None,
            Some(_) | None => self.waiting.pop_front(),
        }
    }

    /// Takes the next line.
    pub(super) fn take(&mut self) -> Option<String> {
        self.waiting.pop_front()
    }
}
