//! The facts about a turn for its span and its metrics.

use std::time::Duration;

use crate::telemetry::UsageRecord;

/// The facts about a turn that are known at its start.
#[derive(Debug)]
pub struct TurnFacts<'a> {
    /// Name of the operation in the conventions.
    pub operation: &'static str,
    /// Model in the request.
    pub requested_model: &'a str,
    /// Model that Codex uses.
    pub effective_model: &'a str,
    /// The client's own name of the conversation.
    pub conversation: Option<&'a str>,
    /// Whether the response is a stream.
    pub stream: bool,
}

/// The result of a turn.
#[derive(Debug)]
pub struct TurnResult<'a> {
    /// Record of the usage log.
    pub record: &'a UsageRecord,
    /// Time from the request to the end of the turn.
    pub duration: Duration,
    /// Time from the request to the first text, reasoning or tool call.
    pub first_token: Option<Duration>,
}
