//! The messages of a request as they arrive, and the fields of their blocks that have no effect.
//! Anthropic API reference, "Create a Message", `messages`.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::blocks::{ImageTransformations, ResultBlock, SourceField};
use crate::anthropic::request::tools::ToolReference;
use crate::openai::request::body::{self, AnyObject};
use crate::openai::request::string_or_list::StringOrList;
use crate::openai::{ApiError, IgnoredFields};

/// A message.
#[derive(Deserialize)]
pub(in crate::anthropic::request) struct InputMessage {
    pub(super) role: String,
    pub(super) content: Option<StringOrList<Block>>,
    #[serde(default, deserialize_with = "body::object")]
    pub(super) output_config: Option<MessageOutputConfig>,
    pub(super) clear_at: Option<String>,
}

/// The `output_config` of a system message, a beta of the API.
#[derive(Deserialize)]
pub(in crate::anthropic::request) struct MessageOutputConfig {
    pub(super) effort: Option<String>,
}

/// A content block.
#[derive(Deserialize)]
pub(in crate::anthropic::request) struct Block {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) text: Option<String>,
    pub(super) source: Option<SourceField>,
    #[serde(default, deserialize_with = "body::object")]
    pub(super) transformations: Option<ImageTransformations>,
    pub(super) id: Option<String>,
    pub(super) name: Option<String>,
    pub(super) input: Option<Box<RawValue>>,
    pub(super) tool_use_id: Option<String>,
    pub(super) content: Option<StringOrList<ResultBlock>>,
    pub(super) is_error: Option<bool>,
    pub(super) thinking: Option<String>,
    pub(super) signature: Option<String>,
    pub(super) data: Option<String>,
    #[serde(default, deserialize_with = "body::object")]
    pub(super) tool: Option<ToolReference>,
    pub(super) cache_control: Option<AnyObject>,
    // Sent as null by clients that return the API's own blocks.
    pub(super) citations: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "body::object")]
    pub(super) caller: Option<CallerField>,
}

/// The caller of a tool.
#[derive(Deserialize)]
pub(in crate::anthropic::request) struct CallerField {
    #[serde(rename = "type")]
    pub(super) kind: String,
}

impl Block {
    /// Adds the fields without effect: those of other types of blocks among them.
    pub(super) fn add_unused(&self, ignored: &mut IgnoredFields) {
        let kind = self.kind.as_str();
        let is = |kinds: &[&str]| kinds.contains(&kind);
        for (name, is_present, is_own) in [
            ("text", self.text.is_some(), is(&["text"])),
            ("source", self.source.is_some(), is(&["image", "document"])),
            (
                "transformations",
                self.transformations.is_some(),
                is(&["image"]),
            ),
            ("id", self.id.is_some(), is(&["tool_use"])),
            ("name", self.name.is_some(), is(&["tool_use"])),
            ("input", self.input.is_some(), is(&["tool_use"])),
            (
                "tool_use_id",
                self.tool_use_id.is_some(),
                is(&["tool_result"]),
            ),
            ("content", self.content.is_some(), is(&["tool_result"])),
            ("is_error", self.is_error.is_some(), is(&["tool_result"])),
            ("thinking", self.thinking.is_some(), is(&["thinking"])),
            ("signature", self.signature.is_some(), is(&["thinking"])),
            ("data", self.data.is_some(), is(&["redacted_thinking"])),
            (
                "tool",
                self.tool.is_some(),
                is(&["tool_addition", "tool_removal"]),
            ),
            ("cache_control", self.cache_control.is_some(), false),
            ("citations", self.citations.is_some(), false),
            ("caller", self.caller.is_some(), is(&["tool_use"])),
        ] {
            ignored.add_if(
                &format!("messages[].content[].{name}"),
                is_present && !is_own,
            );
        }
    }
}

/// Returns the rejection of a block of this type at `param`.
pub(super) fn unsupported_block(kind: &str, param: &str) -> ApiError {
    let advice = match kind {
        "document" | "search_result" => "Send its text in a text block.",
        "tool_use" => "A tool_use block belongs to an assistant message.",
        "tool_result" => "A tool_result block belongs to a user message.",
        "thinking" | "redacted_thinking" => "Thinking belongs to an assistant message.",
        "server_tool_use"
        | "web_search_tool_result"
        | "web_fetch_tool_result"
        | "code_execution_tool_result" => "This server has no tools of its own.",
        _ => "Use text, image, thinking, tool_use or tool_result.",
    };
    let text = format!("Unsupported content block type {kind:?}. {advice}");
    ApiError::unsupported(format!("{param}.type"), text)
}
