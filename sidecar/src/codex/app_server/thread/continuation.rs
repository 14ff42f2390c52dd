//! A thread between two turns: what a later request is compared with, and what that request continues with.

use std::collections::HashSet;

use crate::codex::app_server::ids::TurnKey;
use crate::turn::{AnswerItem, Digest, ReasoningPlace};

/// A thread after its turn, for the next request of its conversation.
#[derive(Debug)]
pub(in crate::codex) struct KeptThread {
    /// The key of the turn.
    pub(in crate::codex) key: TurnKey,
    /// The digest of the request's settings and items.
    pub(in crate::codex) end: Digest,
    /// The number of the request's items that are not reasoning.
    pub(in crate::codex) len: usize,
    /// The reasoning items that the thread has, without those of the answer.
    pub(in crate::codex) reasoning: HashSet<ReasoningPlace>,
    /// The client's own name of the conversation.
    pub(in crate::codex) hint: Option<Box<str>>,
    /// The model's answer.
    pub(in crate::codex) answer: Vec<AnswerItem>,
    /// The turn that waits for the outputs of its tool calls; `None` for a thread whose turn has ended.
    pub(in crate::codex) parked: Option<ParkedTurn>,
}

/// A turn that waits for the outputs of its tool calls.
#[derive(Debug)]
pub(in crate::codex) struct ParkedTurn {
    /// The ids of the calls, in the order in which the model made them.
    pub(in crate::codex) call_ids: Vec<String>,
    /// The digest of the settings of the turn.
    pub(in crate::codex) settings: Digest,
}

/// The thread that a turn continues.
#[derive(Debug)]
pub(in crate::codex) struct Continuation {
    /// The key of the thread's last turn.
    pub(in crate::codex) thread: TurnKey,
    /// The index of the first item of the conversation that the thread does not have.
    pub(in crate::codex) first_new: usize,
    /// The reasoning items that the thread has.
    pub(in crate::codex) reasoning: HashSet<ReasoningPlace>,
}
