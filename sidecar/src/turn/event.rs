//! What happens in a turn until it is answered, and how it ends.
//! Texts come in the pieces in which the child tells them; calls and reasoning items come whole.

use std::fmt;

use super::{ReasoningItem, ToolCall, TurnError};

/// What happens in a turn, in order; `Finished` comes once and last.
#[derive(Clone, PartialEq, Eq)]
pub enum Event {
    /// The child works on it and has nothing to show yet.
    Heartbeat,
    /// More of the answer.
    Text(String),
    /// A message is whole; text that follows belongs to another.
    MessageEnded,
    /// More of the summary of the model's reasoning.
    Reasoning(String),
    /// The summary that follows is another part than the summary before.
    ReasoningPartAdded,
    /// What the model thought, whole, after its summary has come in pieces.
    ReasoningItem(ReasoningItem),
    /// The model calls a tool of the client's.
    ToolCall(ToolCall),
    /// The end.
    Finished(Outcome),
}

impl Event {
    /// Bytes of content that wait in memory while the event is not read.
    pub(super) fn size(&self) -> usize {
        match self {
            Self::Text(text) | Self::Reasoning(text) => text.len(),
            Self::ReasoningItem(item) => item.size(),
            Self::ToolCall(call) => call.call_id.len() + call.name.len() + call.arguments.len(),
            Self::Heartbeat | Self::MessageEnded | Self::ReasoningPartAdded | Self::Finished(_) => {
                0
            }
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Heartbeat => f.write_str("Progress"),
            Self::Text(_) => f.write_str("Text([redacted])"),
            Self::MessageEnded => f.write_str("MessageEnded"),
            Self::Reasoning(_) => f.write_str("Reasoning([redacted])"),
            Self::ReasoningPartAdded => f.write_str("NextReasoningPart"),
            Self::ReasoningItem(item) => f.debug_tuple("Reasoned").field(item).finish(),
            Self::ToolCall(call) => f.debug_tuple("ToolCall").field(call).finish(),
            Self::Finished(outcome) => f.debug_tuple("Finished").field(outcome).finish(),
        }
    }
}

/// How a turn ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The model came to an end that its provider calls one.
    Completed {
        /// Why it ended there.
        stop: FinishReason,
        /// What it cost, when Codex told.
        usage: Option<Usage>,
    },
    /// We ended it: the client left or took it back, or the process is shutting down.
    Interrupted,
    /// It did not come to an end.
    Failed(TurnError),
}

/// Why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum FinishReason {
    /// It had said all.
    Stop,
    /// It ended without a word or a call. That is all that Codex shows of a refusal.
    Refused,
    /// It called tools and waits for what comes of it.
    ToolCalls,
    /// It reached the largest number of tokens that it may write.
    Length,
    /// The provider's filter cut it off.
    ContentFilter,
}

/// Tokens of all model calls of a turn, as Codex reported them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// Tokens of the prompt, cached ones included.
    pub input_tokens: u64,
    /// Those of them that the provider had in its cache.
    pub cached_input_tokens: u64,
    /// Tokens of the answer, reasoning included.
    pub output_tokens: u64,
    /// Those of them that were reasoning.
    pub reasoning_tokens: u64,
}

impl Usage {
    /// A guess for a turn of which Codex told nothing: four characters a token, as OpenAI's rule of thumb has it.
    pub fn estimate(prompt_chars: usize, answer_chars: usize) -> Self {
        let tokens = |chars: usize| chars.div_ceil(4) as u64;
        Self {
            input_tokens: tokens(prompt_chars),
            output_tokens: tokens(answer_chars),
            ..Self::default()
        }
    }

    /// The cost of both together.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            input_tokens: self.input_tokens + other.input_tokens,
            cached_input_tokens: self.cached_input_tokens + other.cached_input_tokens,
            output_tokens: self.output_tokens + other.output_tokens,
            reasoning_tokens: self.reasoning_tokens + other.reasoning_tokens,
        }
    }

    /// Prompt and answer together.
    pub fn total_tokens(&self) -> u64 {
        self.input_tokens + self.output_tokens
    }
}
