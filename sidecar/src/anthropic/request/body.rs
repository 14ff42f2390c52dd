//! The fields of a request, as Anthropic's API reference and the beta types of its SDK 2.15 have them.

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::content::{InputMessage, SystemField};
use super::tools::{ToolChoiceField, ToolField};
use crate::openai::request::body::{self, AnyObject};

/// The fields of a request. `null` counts as absent for each.
#[derive(Deserialize)]
pub(super) struct MessagesBody {
    pub(super) model: Option<String>,
    #[serde(default, deserialize_with = "body::objects")]
    pub(super) messages: Option<Vec<InputMessage>>,
    pub(super) system: Option<SystemField>,
    pub(super) max_tokens: Option<u64>,
    pub(super) stream: Option<bool>,
    pub(super) stop_sequences: Option<Vec<String>>,
    #[serde(default, deserialize_with = "body::objects")]
    pub(super) tools: Option<Vec<ToolField>>,
    #[serde(default, deserialize_with = "body::object")]
    pub(super) tool_choice: Option<ToolChoiceField>,
    #[serde(default, deserialize_with = "body::object")]
    pub(super) thinking: Option<ThinkingField>,
    #[serde(default, deserialize_with = "body::object")]
    pub(super) output_config: Option<OutputConfig>,
    /// The name of `output_config.format` in the beta of structured outputs.
    #[serde(default, deserialize_with = "body::object")]
    pub(super) output_format: Option<OutputFormat>,
    #[serde(default, deserialize_with = "body::object")]
    pub(super) context_management: Option<ContextManagement>,
    #[serde(default, deserialize_with = "body::object")]
    pub(super) metadata: Option<Metadata>,
    pub(super) service_tier: Option<String>,
    pub(super) speed: Option<String>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) top_k: Option<u64>,
    pub(super) cache_control: Option<AnyObject>,
    pub(super) diagnostics: Option<AnyObject>,
    pub(super) container: Option<IgnoredAny>,
    pub(super) mcp_servers: Option<Vec<IgnoredAny>>,
    pub(super) inference_geo: Option<IgnoredAny>,
    pub(super) fallbacks: Option<IgnoredAny>,
    pub(super) compaction: Option<IgnoredAny>,
    pub(super) thread: Option<IgnoredAny>,
    // Fields of the OpenAI routes.
    pub(super) max_completion_tokens: Option<IgnoredAny>,
    pub(super) stop: Option<IgnoredAny>,
    pub(super) response_format: Option<IgnoredAny>,
    pub(super) reasoning_effort: Option<IgnoredAny>,
    pub(super) parallel_tool_calls: Option<IgnoredAny>,
    pub(super) n: Option<IgnoredAny>,
    pub(super) input: Option<IgnoredAny>,
    pub(super) instructions: Option<IgnoredAny>,
    pub(super) prompt: Option<IgnoredAny>,
}

/// The `thinking` field.
#[derive(Deserialize)]
pub(super) struct ThinkingField {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) budget_tokens: Option<u64>,
    pub(super) display: Option<String>,
}

/// The `output_config` field.
#[derive(Deserialize)]
pub(super) struct OutputConfig {
    pub(super) effort: Option<String>,
    #[serde(default, deserialize_with = "body::object")]
    pub(super) format: Option<OutputFormat>,
    pub(super) task_budget: Option<IgnoredAny>,
}

/// The format of the output.
#[derive(Deserialize)]
pub(super) struct OutputFormat {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) schema: Option<Box<RawValue>>,
}

/// The `context_management` field.
#[derive(Deserialize)]
pub(super) struct ContextManagement {
    #[serde(default, deserialize_with = "body::objects")]
    pub(super) edits: Option<Vec<ContextEdit>>,
}

/// An edit of the conversation before the model reads it.
#[derive(Deserialize)]
pub(super) struct ContextEdit {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) keep: Option<Box<RawValue>>,
}

/// The `metadata` field.
#[derive(Deserialize)]
pub(super) struct Metadata {
    pub(super) user_id: Option<String>,
}
