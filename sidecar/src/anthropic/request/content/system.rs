//! The system prompt: a text, or text blocks.

use serde::Deserialize;

use crate::openai::request::body::AnyObject;
use crate::openai::request::string_or_list::StringOrList;
use crate::openai::{ApiError, IgnoredFields};
use crate::turn::{Content, Item, Message, Role};

/// The start of a block in which Claude Code names its version, for the accounting of Anthropic.
const BILLING_HEADER: &str = "x-anthropic-billing-header";

/// The `system` field.
pub(in crate::anthropic::request) type SystemField = StringOrList<SystemBlock>;

/// A text block of the system prompt.
#[derive(Deserialize)]
pub(in crate::anthropic::request) struct SystemBlock {
    #[serde(rename = "type")]
    kind: String,
    text: Option<String>,
    cache_control: Option<AnyObject>,
}

/// Returns the developer message of the system prompt; `None` without a text.
///
/// # Errors
/// 400 for a block that is not a text.
pub(in crate::anthropic::request) fn system(
    field: Option<SystemField>,
    ignored: &mut IgnoredFields,
) -> Result<Option<Item>, ApiError> {
    let mut content = match field {
        None => Vec::new(),
        Some(StringOrList::Text(text)) => vec![Content::Text(text)],
        Some(StringOrList::List(blocks)) => texts(blocks, ignored)?,
    };
    content.retain(|part| *part != Content::Text(String::new()));
    let message = Message {
        role: Role::Developer,
        content,
        phase: None,
    };
    Ok(Some(message)
        .filter(|message| !message.content.is_empty())
        .map(Item::Message))
}

fn texts(blocks: Vec<SystemBlock>, ignored: &mut IgnoredFields) -> Result<Vec<Content>, ApiError> {
    let mut content = Vec::with_capacity(blocks.len());
    for (index, block) in blocks.into_iter().enumerate() {
        if block.kind != "text" {
            let text = format!(
                "Unsupported type {:?} of a system block. Use text.",
                block.kind
            );
            return Err(ApiError::unsupported(format!("system[{index}].type"), text));
        }
        let text = block.text.ok_or_else(|| {
            ApiError::invalid("Missing `text` of the block.").at(format!("system[{index}].text"))
        })?;
        ignored.add_if("system[].cache_control", block.cache_control.is_some());
        // Not for the model: it changes with each version, and would end the cache of all conversations.
        let is_billing_header = text.starts_with(BILLING_HEADER);
        ignored.add_if(
            "system[].text=x-anthropic-billing-header",
            is_billing_header,
        );
        if !is_billing_header {
            content.push(Content::Text(text));
        }
    }
    Ok(content)
}
