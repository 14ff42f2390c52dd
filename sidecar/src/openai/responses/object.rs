//! The response object: what it is while it is made, and what it has become.
//! OpenAI API reference, "The response object"; every field that Open Responses requires is there, null where it is none.

use serde::Serialize;

use super::echo::Echo;
use super::item::ItemBody;
use crate::openai::ApiError;
use crate::turn::{FinishReason, Usage};

/// A response.
#[derive(Serialize)]
pub(super) struct ResponseBody<'a> {
    pub(super) id: &'a str,
    pub(super) object: &'static str,
    pub(super) created_at: u64,
    pub(super) completed_at: Option<u64>,
    pub(super) status: Status,
    pub(super) error: Option<ErrorBody>,
    pub(super) incomplete_details: Option<IncompleteDetails>,
    pub(super) output: &'a [ItemBody],
    pub(super) usage: Option<UsageBody>,
    #[serde(flatten)]
    pub(super) echo: &'a Echo,
}

/// How far a response has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Status {
    InProgress,
    Completed,
    Incomplete,
    Failed,
    Cancelled,
}

impl Status {
    /// The event that ends a stream; one that is cancelled has none of its own, and is no success.
    pub(super) fn event(self) -> &'static str {
        match self {
            Self::InProgress => "response.in_progress",
            Self::Completed => "response.completed",
            Self::Incomplete => "response.incomplete",
            Self::Failed | Self::Cancelled => "response.failed",
        }
    }

    /// Whether a conversation can go on from it.
    pub(super) fn is_continuable(self) -> bool {
        matches!(self, Self::Completed | Self::Incomplete)
    }
}

#[derive(Clone, Serialize)]
pub(super) struct ErrorBody {
    code: String,
    message: String,
}

impl From<&ApiError> for ErrorBody {
    fn from(error: &ApiError) -> Self {
        let inner = error.inner();
        Self {
            code: inner.code.to_owned(),
            message: inner.message.to_owned(),
        }
    }
}

#[derive(Clone, Copy, Serialize)]
pub(super) struct IncompleteDetails {
    reason: &'static str,
}

impl IncompleteDetails {
    /// Why an answer that came to an end is not whole.
    pub(super) fn of(stop: FinishReason) -> Option<Self> {
        let reason = match stop {
            FinishReason::Length => "max_output_tokens",
            FinishReason::ContentFilter => "content_filter",
            FinishReason::Stop | FinishReason::Refused | FinishReason::ToolCalls => return None,
        };
        Some(Self { reason })
    }
}

#[derive(Clone, Copy, Serialize)]
pub(super) struct UsageBody {
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

impl From<Usage> for UsageBody {
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
