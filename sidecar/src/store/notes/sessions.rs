//! The session ids of conversations that outlive the sidecar.

use std::fmt;

use super::note::Note;
use super::redis::RedisNotes;

/// The writer of notes, as those that have one see it.
pub(in crate::store) trait NoteSink: fmt::Debug + Send + Sync {
    /// Writes a note soon, or drops it where the writer hangs.
    fn note(&self, note: Note);
}

/// The place of session ids. The default keeps none.
#[derive(Debug, Default)]
pub struct SessionIds {
    /// The conversations of earlier processes with their session ids, the oldest first.
    known: Vec<([u8; 16], String)>,
    sink: Option<Box<dyn NoteSink>>,
    /// The ids that the sidecars of a fleet share.
    shared: Option<RedisNotes>,
}

impl SessionIds {
    pub(in crate::store) fn new(
        known: Vec<([u8; 16], String)>,
        sink: impl NoteSink + 'static,
        shared: Option<RedisNotes>,
    ) -> Self {
        Self {
            known,
            sink: Some(Box::new(sink)),
            shared,
        }
    }

    /// Takes the conversations of earlier processes with their session ids, the oldest first.
    pub fn take_known(&mut self) -> Vec<([u8; 16], String)> {
        std::mem::take(&mut self.known)
    }

    /// Whether the sidecars of a fleet share the ids.
    pub fn is_shared(&self) -> bool {
        self.shared.is_some()
    }

    /// Returns the session id that the fleet has for a conversation; `None` without one, also where Redis is away.
    pub async fn shared(&self, conversation: [u8; 16]) -> Option<String> {
        self.shared.as_ref()?.session(conversation).await.ok()?
    }

    /// Keeps the session id of a conversation.
    pub fn keep(&self, conversation: [u8; 16], session: String) {
        self.note(Note::Session {
            conversation,
            session,
        });
    }

    /// Forgets the session id of a conversation.
    pub fn forget(&self, conversation: [u8; 16]) {
        self.note(Note::Forgotten { conversation });
    }

    fn note(&self, note: Note) {
        if let Some(sink) = &self.sink {
            sink.note(note);
        }
    }
}
