//! A thread of an app-server: the phases of its turns, the meaning of notifications, and what stays for the next turn.

mod continuation;
mod notifications;
mod phases;
mod reaction;

pub(in crate::codex) use continuation::{Continuation, KeptThread, ParkedTurn};
pub(super) use phases::{CallRequested, NewItems, Thread, ToolResponse};
pub(super) use reaction::{Next, Reaction};
