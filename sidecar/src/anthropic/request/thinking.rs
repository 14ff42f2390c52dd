//! `thinking`: the effort that its budget stands for, and the thinking that the answer shows.
//!
//! Codex has no budget of reasoning tokens. A budget selects one of three efforts: 4,000, 10,000 and 31,999 tokens are
//! the budgets for "think", "think hard" and "ultrathink" of Claude Code.

use super::body::ThinkingField;
use crate::openai::ApiError;
use crate::turn::{Effort, Summary};

/// The smallest budget of Anthropic's API.
const MIN_BUDGET: u64 = 1024;

/// The largest budgets, in tokens, for the efforts low and medium.
const LOW_BUDGET: u64 = 4_096;
const MEDIUM_BUDGET: u64 = 16_384;

/// The thinking that the answer has.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ThinkingDisplay {
    /// None: the client did not ask for thinking.
    Off,
    /// The summary of the model, with a signature.
    Summarized,
    /// The signature alone.
    Omitted,
}

impl ThinkingDisplay {
    /// Returns the summary to ask the model for.
    pub(super) fn summary(self) -> Summary {
        match self {
            Self::Off | Self::Omitted => Summary::None,
            Self::Summarized => Summary::Auto,
        }
    }
}

/// The client's wish for thinking.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Thinking {
    /// The model's own choice, or that of `output_config.effort`.
    Adaptive,
    /// As much as a budget, in tokens.
    Budget(u64),
    /// As little as the model can.
    Disabled,
}

impl Thinking {
    /// Returns the effort for a budget.
    pub(super) fn effort_of_budget(budget: u64) -> Option<Effort> {
        Effort::parse(match budget {
            budget if budget <= LOW_BUDGET => "low",
            budget if budget <= MEDIUM_BUDGET => "medium",
            _ => "high",
        })
    }
}

/// Parses the field.
///
/// # Errors
/// 400 for another type or display, and for a budget below the minimum.
pub(super) fn thinking(
    field: Option<&ThinkingField>,
) -> Result<(Thinking, ThinkingDisplay), ApiError> {
    let Some(field) = field else {
        return Ok((Thinking::Adaptive, ThinkingDisplay::Off));
    };
    let display = match field.display.as_deref() {
        None | Some("summarized") => ThinkingDisplay::Summarized,
        Some("omitted") => ThinkingDisplay::Omitted,
        Some(other) => {
            let text = format!("Unsupported display {other:?}. Use summarized or omitted.");
            return Err(ApiError::unsupported("thinking.display", text));
        }
    };
    if field.budget_tokens.is_some() && field.kind != "enabled" {
        let text = "`thinking.budget_tokens` belongs to the type enabled.";
        return Err(ApiError::invalid(text).at("thinking.budget_tokens"));
    }
    match field.kind.as_str() {
        "adaptive" => Ok((Thinking::Adaptive, display)),
        "disabled" => Ok((Thinking::Disabled, ThinkingDisplay::Off)),
        "enabled" => match field.budget_tokens {
            Some(budget) if budget >= MIN_BUDGET => Ok((Thinking::Budget(budget), display)),
            Some(_) => {
                let text = format!("`thinking.budget_tokens` must be at least {MIN_BUDGET}.");
                Err(ApiError::invalid(text).at("thinking.budget_tokens"))
            }
            None => {
                let text = "Missing `thinking.budget_tokens`, which the type enabled requires.";
                Err(ApiError::invalid(text).at("thinking.budget_tokens"))
            }
        },
        other => {
            let text =
                format!("Unsupported thinking type {other:?}. Use adaptive, enabled or disabled.");
            Err(ApiError::unsupported("thinking.type", text))
        }
    }
}
