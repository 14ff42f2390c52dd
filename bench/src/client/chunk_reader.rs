//! Counts the text in a stream of chat completion chunks without keeping it.
//!
//! The format is OpenAI's chat completion chunks (API reference) in server-sent events (WHATWG HTML, section 9.2). The
//! reader searches for markers rather than parsing JSON: it runs on the same cores as the process under test.

use std::time::Duration;

use crate::timestamp::{self, Timestamp};

/// Markers before the text of a chunk. Servers differ in the blank after the colon.
const CONTENT: [&str; 2] = ["\"content\":\"", "\"content\": \""];

/// Counters over the events so far, and the beginning of an event that is not complete yet.
#[derive(Debug, Default)]
pub(super) struct ChunkReader {
    unread: Vec<u8>,
    /// Number of text deltas.
    pub(super) deltas: usize,
    /// Time from the child's write to this client's read, for each delta that carries a timestamp.
    pub(super) delays: Vec<Duration>,
    /// Whether the final marker of the stream was read.
    pub(super) is_complete: bool,
}

impl ChunkReader {
    /// Counts the events that `piece`, as read from the connection, completes.
    pub(super) fn read(&mut self, piece: &[u8]) {
        self.unread.extend_from_slice(piece);
        let Some(end) = self.unread.windows(2).rposition(|pair| pair == b"\n\n") else {
            return;
        };
        let rest = self.unread.split_off(end + 2);
        let complete = std::mem::replace(&mut self.unread, rest);
        let events = String::from_utf8_lossy(&complete);
        // One time for all events: they arrived in the same read.
        let now = timestamp::now();
        for marker in CONTENT {
            self.deltas += events
                .match_indices(marker)
                // The first chunk may have the role and an empty text.
                .filter(|(at, _)| !events[at + marker.len()..].starts_with('"'))
                .count();
            let written = Timestamp::after(marker, &events);
            self.delays
                .extend(written.map(|written| now.since(written)));
        }
        self.is_complete |= events.ends_with("data: [DONE]\n\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_counted_across_read_boundaries() {
        let timestamp = timestamp::now();
        let stream = format!(
            "data: {{\"delta\":{{\"role\":\"assistant\",\"content\":\"\"}}}}\n\n: keepalive\n\n\
             data: {{\"delta\":{{\"content\":\"{timestamp} \"}}}}\n\ndata: {{\"delta\":{{\"content\": \"b\"}}}}\n\ndata: [DONE]\n\n"
        );
        for size in [1, 7, stream.len()] {
            let mut reader = ChunkReader::default();
            for piece in stream.as_bytes().chunks(size) {
                reader.read(piece);
            }
            let counted = (reader.deltas, reader.delays.len(), reader.is_complete);
            assert_eq!(counted, (2, 1, true), "reads of {size} bytes");
        }
    }
}
