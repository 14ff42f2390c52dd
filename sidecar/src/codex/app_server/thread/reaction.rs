//! The result of one step of a thread: an event for the client, the next call to Codex, and the output so far.

use crate::codex::app_server::ids::{CallId, ThreadId, TurnId};
use crate::turn::{AnswerItem, Event, OpenMessage, Phase, Usage};

/// The result of one notification or state transition.
#[derive(Debug)]
pub(in crate::codex::app_server) struct Reaction {
    /// Events for the client.
    pub(in crate::codex::app_server) events: Vec<Event>,
    /// The next call to Codex.
    pub(in crate::codex::app_server) next: Next,
}

impl Reaction {
    /// Neither an event nor a call.
    pub(super) fn none() -> Self {
        Self {
            events: Vec::new(),
            next: Next::Wait,
        }
    }

    /// An event without a call.
    pub(super) fn event(event: Event) -> Self {
        Self::events(vec![event])
    }

    /// Events without a call.
    pub(super) fn events(events: Vec<Event>) -> Self {
        Self {
            events,
            next: Next::Wait,
        }
    }
}

/// The call to Codex that a state transition asks for, with the ids that the call needs.
#[derive(Debug)]
pub(in crate::codex::app_server) enum Next {
    /// No call.
    Wait,
    InjectItems(ThreadId),
    StartTurn(ThreadId),
    Interrupt(ThreadId, TurnId),
    Unsubscribe(ThreadId),
    /// No call: the thread stays loaded.
    Keep,
    /// No call, since Codex has not created the thread; the session drops the turn.
    Forget,
}

/// The output of a turn so far. It decides whether a retry by Codex would repeat text, and how the turn ends.
#[derive(Debug, Default)]
pub(super) struct TurnOutput {
    /// Text was sent to the client.
    pub(super) text: bool,
    pub(super) open_message: OpenMessage,
    /// A message was started and has not been completed.
    pub(super) message_started: bool,
    /// The phase of the current message, which Codex may report at its start and at its end.
    pub(super) message_phase: Option<Phase>,
    /// Reasoning was sent to the client.
    pub(super) reasoning: bool,
    /// The client's tool calls.
    pub(super) tool_calls: Vec<CallId>,
    /// The model called a tool although the client offered none.
    pub(super) unexpected_call: bool,
    pub(super) usage: Option<Usage>,
    /// Tokens of responses that `usage` does not cover yet.
    pub(super) uncounted: Usage,
    /// The current response has a call of one of Codex's own tools.
    pub(super) codex_call: bool,
    /// The last response had one, so that another model request follows.
    pub(super) goes_on: bool,
    /// The items of the answer, as the thread has them.
    pub(super) answer: Vec<AnswerItem>,
    /// The thread has an item that the client does not, or has it in another form.
    pub(super) differs: bool,
}

impl TurnOutput {
    /// Whether a client that returns the whole answer returns what the thread has.
    pub(super) fn is_repeatable(&self) -> bool {
        !self.differs && self.answer.iter().any(|item| !item.is_reasoning())
    }
}
