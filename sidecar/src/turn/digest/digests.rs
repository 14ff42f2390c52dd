//! The digests of a request.

use std::collections::HashSet;
use std::fmt;

/// A SHA-256 hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Digest(pub(super) [u8; 32]);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{:02x}..", self.0[0], self.0[1])
    }
}

/// The place of a reasoning item, as the number of other items before it, and its digest.
pub type ReasoningPlace = (usize, Digest);

/// The digests of a request.
#[derive(Debug, Clone, Default)]
pub struct ConversationDigest {
    /// By the number of items that are not reasoning: the digest of the settings and of so many items.
    pub(super) prefixes: Vec<Digest>,
    /// The reasoning items of the conversation.
    pub(super) reasoning: HashSet<ReasoningPlace>,
    /// The settings that Codex takes for each turn.
    pub(super) turn_settings: Digest,
}

impl ConversationDigest {
    /// Returns the number of items that are not reasoning.
    pub fn len(&self) -> usize {
        self.prefixes.len().saturating_sub(1)
    }

    /// Whether the digest is that of no request.
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// Returns the digest of the first `len` items that are not reasoning.
    pub fn prefix(&self, len: usize) -> Option<Digest> {
        self.prefixes.get(len).copied()
    }

    /// Returns the digest of the settings that Codex takes for each turn.
    pub fn turn_settings(&self) -> Digest {
        self.turn_settings
    }

    /// Returns the reasoning items of the conversation.
    pub fn reasoning(&self) -> &HashSet<ReasoningPlace> {
        &self.reasoning
    }
}
