//! Ids of the protocol, each with a type of its own, so that one cannot be passed for another.

use std::borrow::Borrow;

use serde::{Deserialize, Serialize};

/// The sidecar's own key of a turn on one child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::codex) struct TurnKey(pub(in crate::codex) u64);

/// Codex's id of a thread, from the result of `thread/start`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct ThreadId(pub(super) String);

/// Codex's id of a turn, from the result of `turn/start`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct TurnId(pub(super) String);

/// The model's id of a tool call.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct CallId(pub(super) String);

/// The id of a JSON-RPC request from the child, as the JSON text that the response repeats.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct RequestId(pub(super) String);

// Notifications borrow their thread id from the line; a map lookup by `&str` saves a copy per delta.
impl Borrow<str> for ThreadId {
    fn borrow(&self) -> &str {
        &self.0
    }
}
