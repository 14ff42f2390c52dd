//! A turn: what a client asks of a model, and what happens until that is answered.
//! The domain where dialects and child protocols meet; it knows no wire format and none of our modules.

mod channel;

use std::fmt;
use std::time::Duration;

pub use channel::{Attended, EventWriter, Timers, Turn, channel};

/// What a client asks for, whichever dialect it speaks.
#[derive(Debug, Clone)]
pub struct TurnRequest {
    /// What Codex is for this client.
    pub profile: Profile,
    /// The model that Codex is told to use.
    pub model: Model,
    /// The whole conversation, oldest first; the last message is the one to answer.
    pub conversation: Vec<Message>,
    /// Whether the client wants to read summaries of the model's reasoning.
    pub reasoning_summary: bool,
}

/// What Codex is for a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Profile {
    /// A plain model.
    Chat,
    /// An agent with tools of its own, in a sandbox and a folder of its own.
    Agent,
}

/// A model as Codex names it, with the effort it shall spend.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Model {
    /// The name that is sent to the model provider.
    pub name: String,
    /// `None` leaves the effort to Codex.
    pub effort: Option<Effort>,
}

/// How long a model may think before it answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Effort {
    /// Hardly at all.
    Minimal,
    /// A little.
    Low,
    /// The usual amount.
    Medium,
    /// As long as it takes.
    High,
}

impl Effort {
    /// Every effort, from the least to the most.
    pub const ALL: [Self; 4] = [Self::Minimal, Self::Low, Self::Medium, Self::High];

    /// The word that OpenAI and Codex share for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Minimal => "minimal",
            Self::Low => "low",
            Self::Medium => "medium",
            Self::High => "high",
        }
    }

    /// The effort that `word` names, in any case.
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL
            .into_iter()
            .find(|effort| effort.as_str().eq_ignore_ascii_case(word))
    }
}

impl TurnRequest {
    /// Characters of text in the conversation.
    pub fn prompt_chars(&self) -> usize {
        let contents = self
            .conversation
            .iter()
            .flat_map(|message| &message.content);
        contents
            .map(|content| match content {
                Content::Text(text) => text.chars().count(),
                Content::Image(_) => 0,
            })
            .sum()
    }
}

/// One message of the conversation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Who speaks. Text cannot forge it: it is never written into the text.
    pub role: Role,
    /// What is said, in order.
    pub content: Vec<Content>,
}

/// Who speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// The application; OpenAI's `system` and `developer`.
    Developer,
    /// The person.
    User,
    /// The model, in an earlier turn.
    Assistant,
}

/// A part of a message. Prompts stay out of the log, so `Debug` shows no content.
#[derive(Clone, PartialEq, Eq)]
pub enum Content {
    /// Plain text.
    Text(String),
    /// An image as a data URL (RFC 2397).
    Image(String),
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Text(_) => "Text([redacted])",
            Self::Image(_) => "Image([redacted])",
        })
    }
}

/// What happens in a turn, in order; `Finished` comes once and last.
#[derive(Clone, PartialEq, Eq)]
pub enum Event {
    /// The child works on it and has nothing to show yet.
    Progress,
    /// More of the answer.
    Text(String),
    /// More of the summary of the model's reasoning.
    Reasoning(String),
    /// The end.
    Finished(Outcome),
}

impl Event {
    /// Bytes of content that wait in memory while the event is not read.
    fn size(&self) -> usize {
        match self {
            Self::Text(text) | Self::Reasoning(text) => text.len(),
            Self::Progress | Self::Finished(_) => 0,
        }
    }
}

impl fmt::Debug for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Progress => f.write_str("Progress"),
            Self::Text(_) => f.write_str("Text([redacted])"),
            Self::Reasoning(_) => f.write_str("Reasoning([redacted])"),
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
        stop: Stop,
        /// What it cost, when Codex told.
        usage: Option<Usage>,
    },
    /// We ended it: the client left, or the process is shutting down.
    Interrupted,
    /// It did not come to an end.
    Failed(TurnError),
}

/// Why a model stopped.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// It had said all.
    Natural,
    /// It reached the largest number of tokens that it may write.
    MaxTokens,
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

    /// Prompt and answer together.
    pub fn total_tokens(&self) -> u64 {
        self.input_tokens + self.output_tokens
    }
}

/// Why a turn failed. `Display` is for the client: it never quotes the child's own output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TurnError {
    /// The conversation does not fit into the model's context.
    #[error("the conversation is longer than the model's context window; shorten it and try again")]
    ContextLength,
    /// The provider refused the request as malformed or not allowed; the text is the provider's own.
    #[error("the model provider refused the request: {0}")]
    Rejected(String),
    /// The provider does not know the model.
    #[error("the model provider does not know the model that this deployment is configured for")]
    ModelNotFound,
    /// The Codex plan is used up.
    #[error("the Codex plan's usage limit is reached")]
    QuotaExceeded {
        /// Until it is open again, when Codex told.
        retry_after: Option<Duration>,
    },
    /// The provider limits the rate.
    #[error("the model provider limits the rate of requests; try again shortly")]
    ProviderRateLimited,
    /// The provider is overloaded.
    #[error("the model provider is overloaded; try again shortly")]
    ProviderOverloaded,
    /// The provider does not accept Codex's credential.
    #[error(
        "the model provider does not accept the Codex credential; the operator must run `codex login`"
    )]
    Unauthorized,
    /// The provider failed, after Codex's own retries.
    #[error("the model provider failed before the answer was complete")]
    ProviderFailed,
    /// All slots are taken and the queue is full, or the wait for a slot was too long.
    #[error("all of this deployment's Codex slots are busy; try again shortly")]
    Busy,
    /// No child has finished its start yet.
    #[error("Codex is starting; try again shortly")]
    Starting,
    /// Codex has no credential.
    #[error("Codex is not logged in; the operator must run `codex login`")]
    LoginRequired,
    /// No child can be started.
    #[error("Codex cannot be started; the operator finds the reason in the sidecar's log")]
    Unavailable,
    /// The sandbox that agents need does not work on this machine.
    #[error(
        "the agent profile is not available: the sandbox does not work on this machine, as the sidecar's log says"
    )]
    NoSandbox,
    /// The child ended in the middle of the turn.
    #[error("the Codex process ended before the answer was complete")]
    ChildExited,
    /// The child said something that its protocol does not allow, or did not answer at all.
    #[error("the Codex process broke its protocol")]
    Protocol,
    /// The answer piled up because the client did not read it.
    #[error("the answer was not read fast enough")]
    SlowReader,
    /// A deadline passed.
    #[error("{0}")]
    Deadline(Deadline),
}

/// Which deadline passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Deadline {
    /// That of the whole request.
    #[error("the request took longer than this deployment allows")]
    Request,
    /// That of silence.
    #[error("Codex was silent for longer than this deployment allows")]
    Idle,
}
