//! What a child has told of a turn and its client has not read yet: events in order, their texts one behind the other.
//! A slow reader leaves thousands of small pieces here, so that what a piece takes beside its text is what counts.

use std::collections::VecDeque;
use std::fmt;

use bytes::{Buf, BytesMut};

use super::Event;

/// Events that wait.
#[derive(Default)]
pub(super) struct EventBuffer {
    /// The first one, as it is: a client that keeps up leaves no other.
    first: Option<Event>,
    entries: VecDeque<Entry>,
    /// The texts of the entries.
    texts: BytesMut,
    /// What the events in boxes take.
    boxed_bytes: usize,
}

#[derive(Debug)]
enum Entry {
    /// As an event, with the length of its text.
    Text(usize),
    Reasoning(usize),
    Other(Box<Event>),
}

impl EventBuffer {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.entries.is_empty()
    }

    /// Memory that is in use, in bytes.
    pub(super) fn bytes(&self) -> usize {
        let first = self.first.as_ref().map_or(0, Event::size);
        first + self.entries.len() * size_of::<Entry>() + self.texts.len() + self.boxed_bytes
    }

    pub(super) fn push(&mut self, event: Event) {
        if self.is_empty() {
            self.first = Some(event);
        } else {
            self.pack(event);
        }
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        self.first.take().or_else(|| self.unpack())
    }

    fn pack(&mut self, event: Event) {
        let entry = match event {
            Event::Text(text) => Entry::Text(self.put_text(&text)),
            Event::Reasoning(text) => Entry::Reasoning(self.put_text(&text)),
            other => {
                self.boxed_bytes += boxed_bytes(&other);
                Entry::Other(Box::new(other))
            }
        };
        self.entries.push_back(entry);
    }

    fn unpack(&mut self) -> Option<Event> {
        Some(match self.entries.pop_front()? {
            Entry::Text(length) => Event::Text(self.take_text(length)),
            Entry::Reasoning(length) => Event::Reasoning(self.take_text(length)),
            Entry::Other(event) => {
                self.boxed_bytes -= boxed_bytes(&event);
                *event
            }
        })
    }

    fn put_text(&mut self, text: &str) -> usize {
        self.texts.extend_from_slice(text.as_bytes());
        text.len()
    }

    fn take_text(&mut self, length: usize) -> String {
        let text = str::from_utf8(&self.texts[..length]);
        let text = text.expect("a text comes out as it went in").to_owned();
        self.texts.advance(length);
        text
    }
}

fn boxed_bytes(event: &Event) -> usize {
    size_of::<Event>() + event.size()
}

impl fmt::Debug for EventBuffer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("EventBuffer")
            .field("first", &self.first)
            .field("entries", &self.entries)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::turn::{Outcome, ToolCall};

    #[test]
    fn events_come_out_as_they_went_in_and_leave_nothing() {
        let call = ToolCall {
            call_id: "c".to_owned(),
            name: "look".to_owned(),
            arguments: "{}".to_owned(),
        };
        let events = [
            Event::Text("häh".to_owned()),
            Event::Reasoning("…".to_owned()),
            Event::Text(String::new()),
            Event::ToolCall(call),
            Event::Text("?".to_owned()),
            Event::Finished(Outcome::Interrupted),
        ];
        let (mut backlog, mut expected) = (EventBuffer::default(), VecDeque::new());
        for (count, event) in events.iter().cycle().take(60).enumerate() {
            backlog.push(event.clone());
            expected.push_back(event.clone());
            if count % 3 > 0 {
                assert_eq!(backlog.pop(), expected.pop_front());
            }
        }
        let shown = format!("{backlog:?}");
        assert!(!shown.contains(['ä', '…']), "a text is for nobody: {shown}");
        for event in expected {
            assert_eq!(backlog.pop(), Some(event));
        }
        assert!(backlog.pop().is_none() && backlog.is_empty());
        assert_eq!(backlog.bytes(), 0);
    }

    #[test]
    fn a_small_piece_takes_little_more_than_its_text() {
        let mut backlog = EventBuffer::default();
        backlog.push(Event::Heartbeat);
        for _ in 0..100 {
            backlog.push(Event::Text(" the word".to_owned()));
        }
        assert_eq!(backlog.bytes(), 100 * (16 + " the word".len()));
    }
}
