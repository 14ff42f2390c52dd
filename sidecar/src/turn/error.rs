//! The failures of a turn, with messages for the client.
//! `openai/response/error.rs` maps them to statuses and codes.

use std::time::Duration;

use super::allowance::SpentLimit;
use super::refusal::Refusal;

/// The failure of a turn. `Display` is for the client and never quotes the child's output.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TurnError {
    /// The conversation does not fit into the model's context.
    #[error(
        "the conversation exceeds the model's maximum context length; shorten it and try again"
    )]
    ContextLength,
    /// The provider rejected the request as malformed or not allowed; the text is the provider's.
    #[error("the model provider refused the request: {0}")]
    Rejected(Refusal),
    /// Codex does not take the request, and did not ask the model.
    #[error("Codex refused the request: {0}")]
    RefusedByCodex(Refusal),
    /// A policy of the provider does not allow the request.
    #[error("the model provider refused the request under its {policy} policy: {message}")]
    PolicyViolation {
        /// The policy's subject.
        policy: &'static str,
        /// The provider's sentence, or advice where the provider sent none.
        message: String,
    },
    /// The provider cannot check the request against its policies at the moment.
    #[error("the model provider has no capacity for its policy checks; try again shortly")]
    PolicyCapacity,
    /// The provider has no capacity for the service tier `flex`.
    #[error(
        "the model provider has no capacity left for the service tier flex; try again later, or send another `service_tier`"
    )]
    FlexUnavailable,
    /// The token budget in Codex's configuration is used up.
    #[error(
        "the token budget in Codex's configuration ended the turn; shorten the request, or ask the operator to raise `features.rollout_budget`"
    )]
    BudgetExceeded,
    /// The request does not fit into the rest of the key's budget.
    #[error(
        "the request does not fit into what is left of this API key's token budget (`{}`); wait until the budget resets, or ask the operator to raise it", limit.name
    )]
    KeyBudgetSpent {
        /// The limit.
        limit: SpentLimit,
        /// The time until it resets.
        retry_after: Duration,
    },
    /// The rest of the key's budget is promised to its running turns.
    #[error(
        "the running requests of this API key hold what is left of its token budget (`{}`); wait until one of them has ended", .0.name
    )]
    KeyBudgetReserved(SpentLimit),
    /// The ledger of the budgets cannot be read or written.
    #[error(
        "the token budget of this API key cannot be checked; try again shortly, or ask the operator, who finds the reason in the sidecar's log"
    )]
    LedgerUnavailable,
    /// Too many actions of an agent were denied.
    #[error(
        "Codex ended the turn because too many of its actions were denied; ask for less than the sandbox forbids"
    )]
    TooManyDenials,
    /// Codex's sandbox failed during the turn.
    #[error(
        "Codex's sandbox failed during the turn; the operator must run `sidecar --check`, which tests it"
    )]
    SandboxFailed,
    /// The model ended without the required tool call.
    #[error(
        "the model did not call a tool although `tool_choice` requires it; try again, or allow an answer without a call"
    )]
    ToolNotCalled,
    /// The model called a tool although the request offered no tools.
    #[error("the model called a tool although the request allows none; try again")]
    UnexpectedToolCall,
    /// This version of Codex cannot offer the client's tools to the model.
    #[error("Codex {0} cannot offer tools to the model; the operator must install 0.169 or newer")]
    ToolsUnsupported(String),
    /// The provider does not serve the model to this login; the text is the provider's.
    #[error("the model provider refused the model: {0}")]
    ModelNotFound(String),
    /// The Codex plan is used up.
    #[error("the Codex plan's usage limit is reached")]
    QuotaExceeded {
        /// The time until the limit resets, if Codex reported it.
        retry_after: Option<Duration>,
    },
    /// The provider limits the rate of requests.
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
    /// The turn got no permit.
    #[error(transparent)]
    NotAdmitted(#[from] NotAdmitted),
    /// Codex takes no further turn at the moment.
    #[error("all of this deployment's Codex slots are busy; try again shortly")]
    Busy,
    /// No child is ready yet.
    #[error("Codex is starting; try again shortly")]
    Starting,
    /// Codex has no credential.
    #[error("Codex is not logged in; the operator must run `codex login`")]
    LoginRequired,
    /// No child can be started.
    #[error("Codex cannot be started; the operator finds the reason in the sidecar's log")]
    Unavailable,
    /// The sandbox of the agent profile does not work on this machine.
    #[error(
        "the agent profile is not available: the sandbox does not work on this machine, as the sidecar's log says"
    )]
    SandboxUnavailable,
    /// The child exited during the turn.
    #[error("the Codex process ended before the answer was complete")]
    ChildExited,
    /// The child exceeded its memory limit while it decoded the images of the turn.
    #[error(
        "Codex ran out of memory while it read the images of the request; send fewer or smaller ones, or ask the operator to raise `CODEX_CHILD_MAX_MIB`"
    )]
    OutOfMemory,
    /// The folder of an agent has outgrown its limit.
    #[error(
        "the agent's folder has outgrown this deployment's limit; ask for less output in files, or ask the operator to raise `PROXY_AGENT_FOLDER_MAX_MIB`"
    )]
    WorkspaceFull,
    /// An agent runs more processes than its limit.
    #[error(
        "the agent ran more processes at once than this deployment allows, and they were ended; ask for fewer at once, or ask the operator to raise `PROXY_AGENT_MAX_PROCESSES`"
    )]
    TooManyProcesses,
    /// The processes of an agent need more memory than its limit.
    #[error(
        "the agent's processes together took more memory than this deployment allows, and they were ended; ask for less at once, or ask the operator to raise `PROXY_AGENT_MEMORY_MAX_MIB`"
    )]
    AgentMemory,
    /// Agents of another client run.
    #[error(
        "agents of another API key are running, and this deployment runs those of one key at a time; try again shortly, or ask the operator about `PROXY_AGENT_CLIENTS`"
    )]
    AgentsBusy,
    /// The child violated its protocol, or did not respond.
    #[error("the Codex process broke its protocol")]
    Protocol,
    /// The unread output of a slow client exceeded its limit.
    #[error(
        "the client did not read its stream, and more than 4 MiB of it were waiting; read the stream as it arrives, or ask without `stream`"
    )]
    SlowReader,
    /// A deadline passed.
    #[error("{0}")]
    Deadline(Deadline),
}

/// A turn that got no permit. `Display` is for the client and names the variable of the limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotAdmitted {
    /// All permits are in use, and the queue for them is full.
    #[error(
        "all of this deployment's Codex slots are busy, and its queue is full; try again shortly, or ask the operator to raise `PROXY_SSE_MAX_CONCURRENCY` or `PROXY_QUEUE_MAX`"
    )]
    QueueFull,
    /// All permits stayed in use for as long as a request waits.
    #[error(
        "all of this deployment's Codex slots stayed busy for as long as a request waits; try again shortly, or ask the operator to raise `PROXY_SSE_MAX_CONCURRENCY` or `PROXY_QUEUE_TIMEOUT_MS`"
    )]
    QueueTimeout,
    /// The client runs as many turns as it may, and the queue is full.
    #[error(
        "this client runs as many turns at once as one client may, and the queue is full; wait until one of them ends, or ask the operator to raise `PROXY_CLIENT_MAX_CONCURRENCY`"
    )]
    ShareAndQueueFull,
    /// The client ran as many turns as it may for as long as a request waits.
    #[error(
        "this client ran as many turns at once as one client may for as long as a request waits; wait until one of them ends, or ask the operator to raise `PROXY_CLIENT_MAX_CONCURRENCY`"
    )]
    ShareTimeout,
    /// A client with fewer queued requests took the place in the queue.
    #[error(
        "the queue is full, and the place of this request went to a client with fewer queued requests; send fewer at once, or ask the operator to raise `PROXY_QUEUE_MAX`"
    )]
    Displaced,
}

impl NotAdmitted {
    /// Returns the name of the limit, for the header `x-codex-edge-limit`.
    pub fn limit(self) -> &'static str {
        match self {
            Self::QueueTimeout => "slots",
            Self::ShareAndQueueFull | Self::ShareTimeout => "client-share",
            Self::QueueFull | Self::Displaced => "queue",
        }
    }
}

/// The kind of a passed deadline.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Deadline {
    /// The deadline of the whole request.
    #[error("the request took longer than this deployment allows")]
    Request,
    /// The deadline between two events.
    #[error("Codex was silent for longer than this deployment allows")]
    Idle,
}

impl TurnError {
    /// Returns the error for the provider's refusal of a request, which may be about the model alone.
    pub fn rejected(refusal: impl Into<Refusal>) -> Self {
        let refusal = refusal.into();
        if refuses_model(&refusal.sentence) {
            Self::ModelNotFound(refusal.sentence)
        } else {
            Self::Rejected(refusal)
        }
    }
}

/// Whether the provider refuses the model for any request, as in "The 'x' model is not supported when using Codex with a
/// ChatGPT account." and "The model `x` does not exist or you do not have access to it.".
fn refuses_model(sentence: &str) -> bool {
    let sentence = sentence.to_ascii_lowercase();
    sentence.contains("model is not supported")
        || (sentence.contains("model") && sentence.contains("does not exist"))
}
