//! Delivery of a response: stream, one document, or in the background.

/// The delivery that a client asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Server-sent events as they happen.
    Stream {
        /// Whether a chat sends a chunk with the usage before the end; a response's last event always has it.
        include_usage: bool,
    },
    /// A JSON document when the turn has ended.
    Buffered,
    /// `/v1/responses` only: a document with status `in_progress` at once; the client polls for the result.
    Background,
    /// `/v1/responses` only: server-sent events; the turn goes on when the client disconnects, and the client polls.
    BackgroundStream,
}

impl Delivery {
    /// Returns the delivery of a chat or a legacy completion with these fields.
    pub(crate) fn of(stream: Option<bool>, include_usage: Option<bool>) -> Self {
        if stream == Some(true) {
            Self::Stream {
                include_usage: include_usage == Some(true),
            }
        } else {
            Self::Buffered
        }
    }

    /// Whether the client polls for the result.
    pub fn is_background(self) -> bool {
        matches!(self, Self::Background | Self::BackgroundStream)
    }

    /// Whether the response is a stream.
    pub fn is_stream(self) -> bool {
        matches!(self, Self::Stream { .. } | Self::BackgroundStream)
    }
}
