//! A queue of events that the client has not read yet, with the text of all deltas in one buffer.
//!
//! A slow reader leaves thousands of small deltas here, so the memory beside their text counts. Measured by the
//! `slow` benchmark: a slow reader costs 1.0 MiB with this buffer, and 2.1 MiB with a `VecDeque<Event>`.

use std::collections::VecDeque;
use std::fmt;

use bytes::{Buf, BytesMut};

use crate::turn::Event;

/// Events in order.
#[derive(Default)]
pub(super) struct EventBuffer {
    /// The first event, unpacked: a client that keeps up leaves no others here, so that no text is copied.
    first: Option<Event>,
    entries: VecDeque<PackedEvent>,
    /// The texts of the packed deltas, in order.
    texts: BytesMut,
    /// Bytes of the boxed events.
    boxed_bytes: usize,
}

#[derive(Debug)]
enum PackedEvent {
    /// Length of the text in bytes.
    Text(usize),
    /// Length of the text in bytes.
    Reasoning(usize),
    Other(Box<Event>),
}

impl EventBuffer {
    pub(super) fn is_empty(&self) -> bool {
        self.first.is_none() && self.entries.is_empty()
    }

    /// Returns the bytes of memory in use.
    pub(super) fn bytes(&self) -> usize {
        let first = self.first.as_ref().map_or(0, Event::size);
        first + self.entries.len() * size_of::<PackedEvent>() + self.texts.len() + self.boxed_bytes
    }

    pub(super) fn push(&mut self, event: Event) {
        // Only into an empty buffer: `pop` returns `first` before the packed events.
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
            Event::Text(text) => PackedEvent::Text(self.put_text(&text)),
            Event::Reasoning(text) => PackedEvent::Reasoning(self.put_text(&text)),
            other => {
                self.boxed_bytes += boxed_bytes(&other);
                PackedEvent::Other(Box::new(other))
            }
        };
        self.entries.push_back(entry);
    }

    fn unpack(&mut self) -> Option<Event> {
        Some(match self.entries.pop_front()? {
            PackedEvent::Text(length) => Event::Text(self.take_text(length)),
            PackedEvent::Reasoning(length) => Event::Reasoning(self.take_text(length)),
            PackedEvent::Other(event) => {
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
        let text = str::from_utf8(&self.texts[..length])
            .expect("lengths are those of whole strings")
            .to_owned();
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
    use crate::turn::{Outcome, ToolCall, ToolKind};

    #[test]
    fn events_come_out_unchanged_and_free_their_memory() {
        let call = ToolCall {
            call_id: "c".to_owned(),
            name: "look".to_owned(),
            namespace: None,
            kind: ToolKind::Function,
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
        let (mut buffer, mut expected) = (EventBuffer::default(), VecDeque::new());
        for (count, event) in events.iter().cycle().take(60).enumerate() {
            buffer.push(event.clone());
            expected.push_back(event.clone());
            if count % 3 > 0 {
                assert_eq!(buffer.pop(), expected.pop_front());
            }
        }
        let shown = format!("{buffer:?}");
        assert!(
            !shown.contains(['ä', '…']),
            "text in the debug output: {shown}"
        );
        for event in expected {
            assert_eq!(buffer.pop(), Some(event));
        }
        assert!(buffer.pop().is_none() && buffer.is_empty());
        assert_eq!(buffer.bytes(), 0);
    }

    #[test]
    fn a_delta_takes_sixteen_bytes_beside_its_text() {
        let mut buffer = EventBuffer::default();
        buffer.push(Event::Heartbeat);
        for _ in 0..100 {
            buffer.push(Event::Text(" the word".to_owned()));
        }
        assert_eq!(buffer.bytes(), 100 * (16 + " the word".len()));
    }
}
