//! The text of a message that a child reports twice: in deltas, and whole at the end of the message.
//! A provider may send a message without deltas, or deltas of its beginning only.

use std::fmt;

/// The deltas of a message that has not ended.
#[derive(Default)]
pub struct OpenMessage(String);

impl OpenMessage {
    /// Adds a delta that the client receives.
    pub fn push(&mut self, delta: &str) {
        self.0.push_str(delta);
    }

    /// Whether no delta of a message has come since the last message ended.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Ends the message, and returns the part of its `whole` text that had no delta. `None` if nothing is left, and if
    /// the deltas are not the beginning of `whole`: text that a client has read cannot be replaced.
    pub fn end(&mut self, mut whole: String) -> Option<String> {
        let sent = std::mem::take(&mut self.0);
        let Some(rest) = whole.strip_prefix(&sent) else {
            tracing::warn!("message differs from its deltas");
            return None;
        };
        if rest.is_empty() {
            return None;
        }
        whole.drain(..sent.len());
        Some(whole)
    }
}

// By hand: a derived `Debug` would put the model's text into the log.
impl fmt::Debug for OpenMessage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OpenMessage([redacted])")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn end_returns_the_text_after_the_deltas() {
        for (deltas, whole, rest) in [
            (&[][..], "Hello", Some("Hello")),
            (&["He", "l"], "Hello", Some("lo")),
            (&["h\u{e4}"], "h\u{e4}\u{e4}", Some("\u{e4}")),
            (&["Hel", "lo"], "Hello", None),
            (&[], "", None),
            (&["Hello"], "", None),
            (&["Hello"], "Goodbye", None),
        ] {
            let mut message = OpenMessage::default();
            deltas.iter().for_each(|delta| message.push(delta));
            let found = message.end(whole.to_owned());
            assert_eq!(found.as_deref(), rest, "{whole:?} after {deltas:?}");
            let next = message.end("next".to_owned());
            assert_eq!(next.as_deref(), Some("next"), "the next message is new");
        }
    }
}
