//! Assembly of a turn's messages and reasoning from events that overlap.
//! Codex 0.42 sends deltas without an item id, and repeats each message as a whole at its end.

use crate::turn::{Event, OpenMessage};

/// The progress of a turn's messages and reasoning, as far as the next event depends on that progress.
#[derive(Debug, Default)]
pub(super) struct MessageAssembler {
    /// A message has begun.
    has_text: bool,
    /// Deltas of a message have arrived, but not its end.
    in_message: bool,
    open_message: OpenMessage,
    /// Reasoning has begun.
    has_reasoning: bool,
    /// The reasoning arrives in deltas.
    has_reasoning_deltas: bool,
    /// A part of the reasoning has ended, and the next one has not begun.
    at_reasoning_break: bool,
}

impl MessageAssembler {
    /// Whether a retry by Codex would repeat output that the client has received.
    pub(super) fn has_output(&self) -> bool {
        self.has_text || self.has_reasoning
    }

    /// Whether the turn has text.
    pub(super) fn has_text(&self) -> bool {
        self.has_text
    }

    /// Handles a delta of a message. Two messages of one turn are separated by a blank line.
    pub(super) fn on_delta(&mut self, delta: String) -> Event {
        let is_next_message = self.has_text && !self.in_message;
        self.has_text = true;
        self.in_message = true;
        self.open_message.push(&delta);
        Event::Text(separate(is_next_message, delta))
    }

    /// Handles the end of a message with its whole text, of which the part without deltas is new.
    pub(super) fn on_message(&mut self, message: String) -> Event {
        let Some(rest) = self.open_message.end(message) else {
            self.in_message = false;
            return Event::Heartbeat;
        };
        let is_next_message = self.has_text && !self.in_message;
        self.has_text = true;
        self.in_message = false;
        Event::Text(separate(is_next_message, rest))
    }

    /// Handles a delta of the reasoning.
    pub(super) fn on_reasoning_delta(&mut self, delta: String) -> Event {
        self.has_reasoning_deltas = true;
        self.reasoning(delta)
    }

    /// Handles a whole part of the reasoning, which is new only when the reasoning has no deltas.
    pub(super) fn on_reasoning(&mut self, text: String) -> Event {
        if self.has_reasoning_deltas {
            return Event::Heartbeat;
        }
        self.at_reasoning_break = self.has_reasoning;
        self.reasoning(text)
    }

    /// Handles the end of a part of the reasoning.
    pub(super) fn on_reasoning_break(&mut self) -> Event {
        // A break before the first part separates nothing.
        self.at_reasoning_break = self.has_reasoning;
        Event::Heartbeat
    }

    fn reasoning(&mut self, text: String) -> Event {
        let is_next_part = std::mem::take(&mut self.at_reasoning_break);
        self.has_reasoning = true;
        Event::Reasoning(separate(is_next_part, text))
    }
}

fn separate(is_next: bool, text: String) -> String {
    if is_next { format!("\n\n{text}") } else { text }
}
