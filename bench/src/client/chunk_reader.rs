//! The text in a stream, counted and not kept: the reader shares the machine with what it measures.
//! Chat completion chunks of OpenAI's API reference.

use crate::timestamp::{self, Stamp};

use super::Visit;

/// What stands before the text of a chunk. Whether there is a blank is the server's choice.
const CONTENT: [&str; 2] = ["\"content\":\"", "\"content\": \""];

/// What was read of an event that is not whole.
#[derive(Debug, Default)]
pub(super) struct Reader {
    unread: Vec<u8>,
}

impl Reader {
    /// Takes a piece off the wire.
    pub(super) fn read(&mut self, piece: &[u8], visit: &mut Visit) {
        self.unread.extend_from_slice(piece);
        let Some(end) = self.unread.windows(2).rposition(|pair| pair == b"\n\n") else {
            return;
        };
        let rest = self.unread.split_off(end + 2);
        let events = std::mem::replace(&mut self.unread, rest);
        let events = String::from_utf8_lossy(&events);
        let now = timestamp::now();
        for marker in CONTENT {
            let texts = events.match_indices(marker);
            // The role may come with an empty text.
            let said = texts.filter(|(at, _)| !events[at + marker.len()..].starts_with('"'));
            visit.deltas += said.count();
            let written = Stamp::behind(marker, &events);
            visit
                .delays
                .extend(written.map(|written| now.since(written)));
        }
        visit.is_whole |= events.ends_with("data: [DONE]\n\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_counted_across_the_borders_of_pieces() {
        let stamp = timestamp::now();
        let stream = format!(
            "data: {{\"delta\":{{\"role\":\"assistant\",\"content\":\"\"}}}}\n\n: keepalive\n\n\
             data: {{\"delta\":{{\"content\":\"{stamp} \"}}}}\n\ndata: {{\"delta\":{{\"content\": \"b\"}}}}\n\ndata: [DONE]\n\n"
        );
        for size in [1, 7, stream.len()] {
            let (mut reader, mut visit) = (Reader::default(), Visit::default());
            for piece in stream.as_bytes().chunks(size) {
                reader.read(piece, &mut visit);
            }
            let seen = (visit.deltas, visit.delays.len(), visit.is_whole);
            assert_eq!(seen, (2, 1, true), "pieces of {size}");
        }
    }
}
