//! The reason for the end of a message.
//! Anthropic API reference, "Handling stop reasons".

use serde::Serialize;

use crate::openai::response::budget::SpentBudget;
use crate::openai::response::options::REFUSAL_TEXT;
use crate::turn::FinishReason;

/// The fields about the end, in a message and in the event `message_delta`.
#[derive(Debug, Clone, Serialize)]
pub(super) struct StopFields<'a> {
    stop_reason: &'static str,
    stop_sequence: Option<&'a str>,
    stop_details: Option<RefusalDetails>,
    /// The limit of the key that ended the answer, an extension.
    #[serde(skip_serializing_if = "Option::is_none")]
    budget: Option<SpentBudget>,
}

/// The details of a refusal.
#[derive(Debug, Clone, Copy, Serialize)]
struct RefusalDetails {
    r#type: &'static str,
    category: Option<&'static str>,
    explanation: &'static str,
}

const FILTERED: &str = "The content filter of the provider ended the answer.";

impl<'a> StopFields<'a> {
    /// Returns the fields; `sequences` are the stop sequences of the request.
    pub(super) fn new(reason: FinishReason, sequences: &'a [String]) -> Self {
        let (stop_reason, explanation) = match reason {
            FinishReason::Stop => ("end_turn", None),
            FinishReason::StopSequence(_) => ("stop_sequence", None),
            FinishReason::ToolCalls => ("tool_use", None),
            FinishReason::Length | FinishReason::Budget(_) => ("max_tokens", None),
            FinishReason::Refused => ("refusal", Some(REFUSAL_TEXT)),
            FinishReason::ContentFilter => ("refusal", Some(FILTERED)),
        };
        let sequence = match reason {
            FinishReason::StopSequence(index) => sequences.get(index),
            _ => None,
        };
        Self {
            stop_reason,
            stop_sequence: sequence.map(String::as_str),
            stop_details: explanation.map(|explanation| RefusalDetails {
                r#type: "refusal",
                category: None,
                explanation,
            }),
            budget: SpentBudget::of(reason),
        }
    }
}
