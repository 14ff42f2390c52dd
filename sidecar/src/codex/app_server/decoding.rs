//! The turn with the large images that the child decodes. Codex decodes the images of a turn one after the other, but those of
//! several turns at once, each in 11 bytes a pixel; so that the child's memory is bounded, the turns take their turns.

use std::collections::VecDeque;

use super::ids::TurnKey;

/// Pixels of a request above which its images are large: those of four screens. Below, the child needs 50 MiB and a tenth
/// of a second.
pub(super) const LARGE_PIXELS: u64 = 8_000_000;

/// The turn with the images that the child decodes, and those that wait for it.
#[derive(Debug, Default)]
pub(super) struct DecodeQueue {
    current: Option<TurnKey>,
    waiting: VecDeque<TurnKey>,
}

impl DecodeQueue {
    /// Returns the turn with the images that the child decodes.
    pub(super) fn current(&self) -> Option<TurnKey> {
        self.current
    }

    /// Whether the child may decode the images of the turn now; otherwise the turn waits.
    pub(super) fn admit(&mut self, key: TurnKey) -> bool {
        let is_admitted = *self.current.get_or_insert(key) == key;
        if !is_admitted {
            self.waiting.push_back(key);
        }
        is_admitted
    }

    /// Takes a turn out, and returns the next one if that turn was the current one.
    pub(super) fn finish(&mut self, key: TurnKey) -> Option<TurnKey> {
        self.waiting.retain(|waiting| *waiting != key);
        self.current.take_if(|current| *current == key)?;
        self.current = self.waiting.pop_front();
        self.current
    }
}
