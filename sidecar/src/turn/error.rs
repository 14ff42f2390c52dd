//! Why a turn failed, in words for the client.
//! What each means on the wire is a dialect's affair.

use std::time::Duration;

/// Why a turn failed. `Display` is for the client: it never quotes the child's own output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TurnError {
    /// The conversation does not fit into the model's context.
    #[error("the conversation is longer than the model's context window; shorten it and try again")]
    ContextLength,
    /// The provider refused the request as malformed or not allowed; the text is the provider's own.
    #[error("the model provider refused the request: {0}")]
    Rejected(String),
    /// The model ended without the call that was required of it.
    #[error(
        "the model did not call a tool although `tool_choice` requires it; try again, or allow an answer without a call"
    )]
    ToolNotCalled,
    /// The model made a call although it was offered no tool.
    #[error("the model called a tool although the request allows none; try again")]
    UnaskedCall,
    /// This Codex cannot offer a client's tools to the model.
    #[error("Codex {0} cannot offer tools to the model; the operator must install 0.169 or newer")]
    NoTools(String),
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
