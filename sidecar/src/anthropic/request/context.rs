//! `context_management`: the thinking of earlier turns that the model does not read again.
//! Anthropic API reference, "Context editing", a beta of the API.

use serde_json::Value;

use super::body::{ContextEdit, ContextManagement};
use crate::openai::ApiError;
use crate::turn::{Item, Role};

/// The edit that leaves out thinking.
const CLEAR_THINKING: &str = "clear_thinking_20251015";

/// The turns that [`CLEAR_THINKING`] keeps if it does not say.
const DEFAULT_TURNS: u64 = 1;

/// The thinking that the model reads, by turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum KeptThinking {
    All,
    /// The last turns with thinking, as many as this.
    Last(u64),
}

/// Parses the field.
///
/// # Errors
/// 400 for another edit: the context would be another one than the client asks for.
pub(super) fn kept_thinking(field: Option<&ContextManagement>) -> Result<KeptThinking, ApiError> {
    let edits = field.and_then(|field| field.edits.as_deref());
    let mut kept = KeptThinking::All;
    for (index, edit) in edits.unwrap_or_default().iter().enumerate() {
        let param = format!("context_management.edits[{index}]");
        if edit.kind != CLEAR_THINKING {
            let text = format!(
                "Unsupported edit {:?}. Use {CLEAR_THINKING}, and leave out tool results in `messages` yourself.",
                edit.kind
            );
            return Err(ApiError::unsupported(format!("{param}.type"), text));
        }
        kept = keep(edit, &param)?;
    }
    Ok(kept)
}

fn keep(edit: &ContextEdit, param: &str) -> Result<KeptThinking, ApiError> {
    let Some(keep) = &edit.keep else {
        return Ok(KeptThinking::Last(DEFAULT_TURNS));
    };
    let keep: Value = serde_json::from_str(keep.get()).unwrap_or_default();
    let kind = keep.as_str().or_else(|| keep["type"].as_str());
    match (kind, keep["value"].as_u64()) {
        (Some("all"), _) => Ok(KeptThinking::All),
        (Some("thinking_turns"), Some(turns)) if turns > 0 => Ok(KeptThinking::Last(turns)),
        _ => {
            let text = format!(
                "`{param}.keep` must be \"all\", or {{\"type\": \"thinking_turns\", \"value\": …}} with at least 1."
            );
            Err(ApiError::invalid(text).at(format!("{param}.keep")))
        }
    }
}

impl KeptThinking {
    /// Removes the reasoning of the turns that are not kept. A turn begins with a message of the user, so that the calls of
    /// a tool loop are one turn.
    pub(super) fn apply(self, items: &mut Vec<Item>) {
        let Self::Last(mut turns) = self else {
            return;
        };
        let mut has_thinking = false;
        let mut keeps = Vec::with_capacity(items.len());
        for item in items.iter().rev() {
            keeps.push(!matches!(item, Item::Reasoning(_)) || turns > 0);
            match item {
                Item::Reasoning(_) => has_thinking = true,
                Item::Message(message) if message.role == Role::User && has_thinking => {
                    turns = turns.saturating_sub(1);
                    has_thinking = false;
                }
                Item::Message(_) | Item::ToolCall(_) | Item::ToolOutput(_) => {}
            }
        }
        items.retain(|_| keeps.pop().unwrap_or(true));
    }
}
