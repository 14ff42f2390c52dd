//! One turn in the usage log. It holds who asked for how much, and nothing of what was said.

use serde::{Deserialize, Serialize};

/// A line of the log. Times are milliseconds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// When the request came, since the Unix epoch.
    pub ts: u64,
    /// The id that the client's answer and the logs carry; empty without Envoy in front.
    pub request_id: String,
    /// The id of the caller's key; empty when nobody asked for one.
    pub client: String,
    /// The path that was asked.
    pub route: String,
    /// The model that the client named.
    pub requested_model: String,
    /// The model that Codex was told to use.
    pub effective_model: String,
    /// Whether the answer was a stream.
    pub stream: bool,
    /// Tokens of the prompt, cached ones included.
    pub prompt_tokens: u64,
    /// Those of them that the provider had in its cache.
    pub cached_tokens: u64,
    /// Tokens of the answer, reasoning included.
    pub completion_tokens: u64,
    /// Those of them that were reasoning.
    pub reasoning_tokens: u64,
    /// Prompt and answer together.
    pub total_tokens: u64,
    /// Who counted them.
    pub token_source: TokenSource,
    /// From the request to the end of its turn.
    pub duration_ms: u64,
    /// From the request to the first word, thought or call; absent when there was none.
    pub time_to_first_token_ms: Option<u64>,
    /// The status of the answer; 499 when the client left before there was one.
    pub status: u16,
    /// Why the model stopped; absent when it did not come to an end.
    pub finish_reason: Option<String>,
    /// What became of it instead: a code of our errors, `client_left` or `interrupted`.
    pub error: Option<String>,
}

/// Who counted the tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum TokenSource {
    /// Codex told.
    Reported,
    /// Codex told nothing: four characters a token.
    Estimated,
    /// Nobody: the model was not asked, or said nothing.
    None,
}

impl Record {
    /// Whether the turn failed. A client that leaves, or takes its request back, has what it wanted.
    pub fn is_failure(&self) -> bool {
        let error = self.error.as_deref();
        error.is_some_and(|error| error != Self::CLIENT_LEFT && error != Self::INTERRUPTED)
    }

    pub(crate) const CLIENT_LEFT: &'static str = "client_left";
    pub(crate) const INTERRUPTED: &'static str = "interrupted";
}
