//! The events of a turn, and its outcome.
//! Texts come in the deltas of the child; tool calls and reasoning items come whole.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::allowance::SpentLimit;
use super::{Phase, ReasoningItem, ToolCall, TurnError};

/// An event of a turn. `Finished` comes once and last.
#[derive(Clone, PartialEq, Eq)]
pub enum Event {
    /// The turn is in progress, without new output.
    Heartbeat,
    /// A delta of the text.
    Text(String),
    /// The phase of the current message, once for each message that has one.
    MessagePhase(Phase),
    /// The end of a message; later text belongs to another one.
    MessageEnded,
    /// A delta of the reasoning summary.
    Reasoning(String),
    /// The start of another part of the summary, after the first.
    ReasoningPartAdded,
    /// A whole reasoning item, after the deltas of its summary.
    ReasoningItem(ReasoningItem),
    /// A call of one of the client's tools.
    ToolCall(ToolCall),
    /// The end of a model request of the turn.
    Used(UsedTokens),
    /// The end of the turn.
    Finished(Outcome),
}

impl Event {
    /// Returns the bytes of content that the event holds on the heap.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Text(text) | Self::Reasoning(text) => text.len(),
            Self::ReasoningItem(item) => item.size(),
            Self::ToolCall(call) => call.size(),
            Self::Heartbeat
            | Self::Used(_)
            | Self::MessagePhase(_)
            | Self::MessageEnded
            | Self::ReasoningPartAdded
            | Self::Finished(_) => 0,
        }
    }
}

// By hand: a derived `Debug` would put the model's text into the log.
impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heartbeat => f.write_str("Heartbeat"),
            Self::Text(_) => f.write_str("Text([redacted])"),
            Self::MessagePhase(phase) => f.debug_tuple("MessagePhase").field(phase).finish(),
            Self::MessageEnded => f.write_str("MessageEnded"),
            Self::Reasoning(_) => f.write_str("Reasoning([redacted])"),
            Self::ReasoningPartAdded => f.write_str("ReasoningPartAdded"),
            Self::ReasoningItem(item) => f.debug_tuple("ReasoningItem").field(item).finish(),
            Self::ToolCall(call) => f.debug_tuple("ToolCall").field(call).finish(),
            Self::Used(usage) => f.debug_tuple("Used").field(usage).finish(),
            Self::Finished(outcome) => f.debug_tuple("Finished").field(outcome).finish(),
        }
    }
}

/// The tokens of a turn after one of its model requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct UsedTokens {
    /// The tokens of all model requests so far.
    pub usage: Usage,
    /// Whether the response has calls of Codex's own tools, so that another model request follows.
    pub goes_on: bool,
}

/// The origin of the Codex thread that a turn is on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ThreadOrigin {
    /// The turn has begun it.
    New,
    /// The conversation's last request has left it.
    Warm,
    /// Codex has rebuilt it, with the session id of the conversation.
    Resumed,
}

impl ThreadOrigin {
    /// Returns the value of the header `x-codex-edge-thread`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::New => "new",
            Self::Warm => "warm",
            Self::Resumed => "resumed",
        }
    }
}

/// The origin of a turn's thread, which is known once a child has the turn. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct TurnOrigin(Arc<Mutex<Option<ThreadOrigin>>>);

impl TurnOrigin {
    /// Returns the origin, once a child has the turn. A turn that begins again on another child may change it.
    pub fn get(&self) -> Option<ThreadOrigin> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn set(&self, origin: ThreadOrigin) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(origin);
    }
}

/// The outcome of a turn.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The model ended its output.
    Completed {
        /// The reason of the end.
        stop: FinishReason,
        /// The tokens of the turn, if Codex reported them.
        usage: Option<Usage>,
    },
    /// The sidecar interrupted the turn: the client disconnected or cancelled it, or the process is shutting down.
    Interrupted,
    /// The turn failed.
    Failed(TurnError),
}

/// The reason why the model's output ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// The model ended its output itself, or a tool block ended it.
    Stop,
    /// The stop sequence with this index in [`TruncationRules::stop`](super::TruncationRules::stop) ended the output.
    StopSequence(usize),
    /// The model refused to answer. Codex shows that a refusal came, but not its text.
    Refused,
    /// The model called tools and waits for their outputs.
    ToolCalls,
    /// The token limit was reached.
    Length,
    /// A limit of the key's budget was reached.
    Budget(SpentLimit),
    /// The provider's content filter ended the output.
    ContentFilter,
}

/// Tokens of all model calls of a turn, as Codex reported them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, including cached ones.
    pub input_tokens: u64,
    /// Tokens of the prompt that the provider had cached.
    pub cached_input_tokens: u64,
    /// Tokens of the output, including reasoning.
    pub output_tokens: u64,
    /// Tokens of the output that were reasoning.
    pub reasoning_tokens: u64,
}

impl Usage {
    /// Estimates the usage of a turn without a report: four characters a token, the rule of thumb in OpenAI's
    /// documentation.
    pub fn estimate(prompt_chars: usize, output_chars: usize) -> Self {
        let tokens = |chars: usize| chars.div_ceil(4) as u64;
        Self {
            input_tokens: tokens(prompt_chars),
            output_tokens: tokens(output_chars),
            ..Self::default()
        }
    }

    /// Returns the sum of two usages.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens + other.input_tokens,
            cached_input_tokens: self.cached_input_tokens + other.cached_input_tokens,
            output_tokens: self.output_tokens + other.output_tokens,
            reasoning_tokens: self.reasoning_tokens + other.reasoning_tokens,
        }
    }

    /// Returns the usage without that of `earlier`, a part of it.
    #[must_use]
    pub fn minus(self, earlier: Self) -> Self {
        Self {
            input_tokens: self.input_tokens.saturating_sub(earlier.input_tokens),
            cached_input_tokens: self
                .cached_input_tokens
                .saturating_sub(earlier.cached_input_tokens),
            output_tokens: self.output_tokens.saturating_sub(earlier.output_tokens),
            reasoning_tokens: self
                .reasoning_tokens
                .saturating_sub(earlier.reasoning_tokens),
        }
    }

    /// Returns the tokens of prompt and output together.
    pub fn total_tokens(&self) -> u64 {
        self.input_tokens + self.output_tokens
    }
}
