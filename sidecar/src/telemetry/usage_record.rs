//! The record of a turn in the usage log: client, model, tokens and times, without the prompt and the completion.

use serde::{Deserialize, Serialize};

/// A line of the usage log. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UsageRecord {
    /// Arrival of the request, since the Unix epoch.
    pub ts: u64,
    /// Request id of the response and of the logs; empty for a request that did not come through Envoy.
    pub request_id: String,
    /// Id of the caller's API key; empty where the filter does not authenticate.
    pub client: String,
    /// Path of the request.
    pub route: String,
    /// Model in the request.
    pub requested_model: String,
    /// Model that Codex used.
    pub effective_model: String,
    /// Whether the response was a stream.
    pub stream: bool,
    /// Tokens of the prompt, including cached ones.
    pub prompt_tokens: u64,
    /// Prompt tokens from the provider's cache.
    pub cached_tokens: u64,
    /// Tokens of the completion, including reasoning.
    pub completion_tokens: u64,
    /// Completion tokens spent on reasoning.
    pub reasoning_tokens: u64,
    /// Tokens of prompt and completion.
    pub total_tokens: u64,
    /// Source of the token counts.
    pub token_source: TokenSource,
    /// Time from the request to the end of its turn.
    pub duration_ms: u64,
    /// Time from the request to the first text, reasoning or tool call; absent without output.
    pub time_to_first_token_ms: Option<u64>,
    /// Status of the response; 499 when the client disconnected before the response.
    pub status: u16,
    /// Finish reason of the model; absent for a turn that did not complete.
    pub finish_reason: Option<String>,
    /// Reason for an incomplete turn: an error code, `client_left` or `interrupted`.
    pub error: Option<String>,
}

/// The source of token counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenSource {
    /// Codex reported them.
    Reported,
    /// Codex reported no counts; estimated at four characters per token.
    Estimated,
    /// The model was not called, or produced no output.
    None,
}

impl UsageRecord {
    /// Whether the turn failed. A disconnect or a cancellation by the client is not a failure.
    pub fn is_failure(&self) -> bool {
        let error = self.error.as_deref();
        error.is_some_and(|error| error != Self::CLIENT_LEFT && error != Self::INTERRUPTED)
    }

    /// The status of a request that lost its client before the response, as nginx logs it.
    pub(crate) const CLIENT_CLOSED_REQUEST: u16 = 499;
    pub(crate) const CLIENT_LEFT: &'static str = "client_left";
    pub(crate) const INTERRUPTED: &'static str = "interrupted";
}
