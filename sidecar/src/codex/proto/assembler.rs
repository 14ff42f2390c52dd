//! What the model has said in a turn so far, as far as the next event depends on it.
//! Codex 0.42 gives deltas no item id, and repeats each message whole at its end.

use crate::turn::Event;

/// The text and the reasoning of a turn.
#[derive(Debug, Default)]
pub(super) struct Answer {
    /// Some message has begun.
    text: bool,
    /// Deltas of a message have come, and not yet its end.
    in_message: bool,
    /// Some reasoning has begun.
    reasoning: bool,
    /// It comes in deltas.
    reasoning_deltas: bool,
    /// A part of the reasoning has ended.
    reasoning_break: bool,
}

impl Answer {
    /// Whether a retry would repeat anything.
    pub(super) fn has_begun(&self) -> bool {
        self.text || self.reasoning
    }

    pub(super) fn has_text(&self) -> bool {
        self.text
    }

    /// Two messages of one turn are parted by a blank line.
    pub(super) fn on_delta(&mut self, delta: String) -> Event {
        let parted = self.text && !self.in_message;
        self.text = true;
        self.in_message = true;
        Event::Text(part(parted, delta))
    }

    /// The end of a message, with its whole text; only one that came without deltas is new.
    pub(super) fn on_message(&mut self, message: String) -> Event {
        let event = if self.in_message || message.is_empty() {
            Event::Heartbeat
        } else {
            self.on_delta(message)
        };
        self.in_message = false;
        event
    }

    pub(super) fn on_reasoning_delta(&mut self, delta: String) -> Event {
        self.reasoning_deltas = true;
        self.reason(delta)
    }

    /// A part of the reasoning, whole; it is new only where there are no deltas.
    pub(super) fn on_reasoning(&mut self, text: String) -> Event {
        if self.reasoning_deltas {
            return Event::Heartbeat;
        }
        self.reasoning_break = self.reasoning;
        self.reason(text)
    }

    fn reason(&mut self, text: String) -> Event {
        let parted = std::mem::take(&mut self.reasoning_break);
        self.reasoning = true;
        Event::Reasoning(part(parted, text))
    }

    pub(super) fn on_reasoning_break(&mut self) -> Event {
        self.reasoning_break = self.reasoning;
        Event::Heartbeat
    }
}

fn part(parted: bool, text: String) -> String {
    if parted { format!("\n\n{text}") } else { text }
}
