//! The response object, in progress and ended.
//! OpenAI API reference, "The response object"; all fields that Open Responses requires are present, null where empty.

use http::StatusCode;
use serde::Serialize;

use super::echo::RequestEcho;
use super::item::ItemBody;
use crate::openai::ApiError;
use crate::openai::response::budget::SpentBudget;
use crate::turn::{FinishReason, Usage};

/// A response object in wire format.
#[derive(Serialize)]
pub(super) struct ResponseBody<'a> {
    pub(super) id: &'a str,
    pub(super) object: &'static str,
    pub(super) created_at: u64,
    pub(super) completed_at: Option<u64>,
    pub(super) status: ResponseStatus,
    pub(super) error: Option<ResponseError>,
    pub(super) incomplete_details: Option<IncompleteDetails>,
    pub(super) output: &'a [ItemBody],
    pub(super) usage: Option<ResponseUsage>,
    pub(super) model: &'a str,
    // Flattened: `model` and the echoed fields are at the top level of the object.
    #[serde(flatten)]
    pub(super) echo: &'a RequestEcho,
}

/// The progress of a response.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ResponseStatus {
    InProgress,
    Completed,
    Incomplete,
    Failed,
    Cancelled,
}

impl ResponseStatus {
    /// Returns the type of the event that ends the stream. A cancelled response has no event type of its own and uses
    /// the one for failures.
    pub(super) fn event(self) -> &'static str {
        match self {
            Self::InProgress => "response.in_progress",
            Self::Completed => "response.completed",
            Self::Incomplete => "response.incomplete",
            Self::Failed | Self::Cancelled => "response.failed",
        }
    }

    /// Whether a conversation can continue from the response.
    pub(super) fn is_continuable(self) -> bool {
        matches!(self, Self::Completed | Self::Incomplete)
    }
}

#[derive(Clone, Serialize)]
pub(super) struct ResponseError {
    code: String,
    message: String,
}

impl From<&ApiError> for ResponseError {
    fn from(error: &ApiError) -> Self {
        let inner = error.fields();
        Self {
            code: openai_code(error).to_owned(),
            message: inner.message.to_owned(),
        }
    }
}

/// Returns the code that OpenAI's response object has for an error: SDKs read it as an enum, and Codex as a client
/// decides by it. The event `error` has our own code beside it.
fn openai_code(error: &ApiError) -> &str {
    match error.code() {
        code @ ("context_length_exceeded" | "insufficient_quota") => code,
        "rate_limited" | "concurrency_exceeded" => "rate_limit_exceeded",
        // OpenAI's code for a request that is refused again, whatever the reason.
        _ if error.status == StatusCode::BAD_REQUEST => "invalid_prompt",
        _ => "server_error",
    }
}

#[derive(Clone, Serialize)]
pub(super) struct IncompleteDetails {
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<SpentBudget>,
}

impl IncompleteDetails {
    /// Returns the reason why a completed turn is incomplete, or `None` for a complete one.
    pub(super) fn of(reason: FinishReason) -> Option<Self> {
        let budget = SpentBudget::of(reason);
        let reason = match reason {
            FinishReason::Length | FinishReason::Budget(_) => "max_output_tokens",
            FinishReason::ContentFilter => "content_filter",
            FinishReason::Stop
            | FinishReason::StopSequence(_)
            | FinishReason::Refused
            | FinishReason::ToolCalls => return None,
        };
        Some(Self { reason, budget })
    }
}

#[derive(Clone, Copy, Serialize)]
pub(super) struct ResponseUsage {
    input_tokens: u64,
    input_tokens_details: InputDetails,
    output_tokens: u64,
    output_tokens_details: OutputDetails,
    total_tokens: u64,
}

#[derive(Clone, Copy, Serialize)]
struct InputDetails {
    cached_tokens: u64,
}

#[derive(Clone, Copy, Serialize)]
struct OutputDetails {
    reasoning_tokens: u64,
}

impl From<Usage> for ResponseUsage {
    fn from(usage: Usage) -> Self {
        Self {
            input_tokens: usage.input_tokens,
            input_tokens_details: InputDetails {
                cached_tokens: usage.cached_input_tokens,
            },
            output_tokens: usage.output_tokens,
            output_tokens_details: OutputDetails {
                reasoning_tokens: usage.reasoning_tokens,
            },
            total_tokens: usage.total_tokens(),
        }
    }
}
