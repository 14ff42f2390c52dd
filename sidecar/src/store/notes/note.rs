//! A note.

/// A fact that the sidecar has learned.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::store) enum Note {
    /// The characters and tokens of a model's output, of which the later turns weigh more.
    Ratio {
        model: String,
        chars: f64,
        tokens: f64,
    },
    /// The session id of the last thread of a conversation.
    Session {
        conversation: [u8; 16],
        session: String,
    },
    /// The conversation has no thread with a session id of its own any more.
    Forgotten { conversation: [u8; 16] },
}

impl Note {
    /// Whether an earlier note that is not written yet says nothing any more beside this one.
    pub(in crate::store) fn replaces(&self, earlier: &Self) -> bool {
        match (self, earlier) {
            (Self::Ratio { model, .. }, Self::Ratio { model: other, .. }) => model == other,
            _ => false,
        }
    }
}

/// The notes of earlier processes.
#[derive(Debug, Default)]
pub(in crate::store) struct KnownNotes {
    /// Model, characters and tokens.
    pub(in crate::store) ratios: Vec<(String, f64, f64)>,
    /// Conversation and session id, the oldest first.
    pub(in crate::store) sessions: Vec<([u8; 16], String)>,
}
