//! The fields of a response that repeat the request.
//! OpenAI API reference, "The response object"; absent fields have OpenAI's defaults.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::turn::{Effort, Summary};

/// The fields of a response that the request decides.
#[derive(Debug, Serialize)]
pub(super) struct RequestEcho {
    pub(super) background: bool,
    pub(super) instructions: Option<String>,
    pub(super) max_output_tokens: Option<u64>,
    pub(super) max_tool_calls: Option<u64>,
    pub(super) metadata: BTreeMap<String, String>,
    pub(super) parallel_tool_calls: bool,
    pub(super) previous_response_id: Option<String>,
    pub(super) prompt_cache_key: Option<String>,
    pub(super) reasoning: ReasoningEcho,
    pub(super) safety_identifier: Option<String>,
    // The tier that was asked of the provider; `default` where the model does not have the client's tier.
    pub(super) service_tier: String,
    pub(super) store: bool,
    pub(super) temperature: f64,
    pub(super) text: TextEcho,
    pub(super) tool_choice: ToolChoiceEcho,
    pub(super) tools: Vec<ToolEcho>,
    pub(super) top_logprobs: u64,
    pub(super) top_p: f64,
    pub(super) presence_penalty: f64,
    pub(super) frequency_penalty: f64,
    pub(super) truncation: String,
    pub(super) user: Option<String>,
}

#[derive(Debug, Serialize)]
pub(super) struct ReasoningEcho {
    pub(super) effort: Option<String>,
    pub(super) summary: Option<&'static str>,
}

impl ReasoningEcho {
    pub(super) fn new(effort: Option<&Effort>, summary: Summary) -> Self {
        Self {
            effort: effort.map(|effort| effort.as_str().to_owned()),
            summary: (summary != Summary::None).then_some(summary.as_str()),
        }
    }
}

#[derive(Debug, Serialize)]
pub(super) struct TextEcho {
    pub(super) format: TextFormat,
    // Absent, not null, when the client did not send it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) verbosity: Option<String>,
}

/// The output format, as requested and as echoed.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct TextFormat {
    #[serde(rename = "type")]
    pub(super) kind: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) name: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) description: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) schema: Option<Box<RawValue>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) strict: Option<bool>,
}

impl TextFormat {
    pub(super) fn text() -> Self {
        Self {
            kind: "text".to_owned(),
            name: None,
            description: None,
            schema: None,
            strict: None,
        }
    }
}

/// A tool of the request that is offered to the model.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum ToolEcho {
    Function {
        name: String,
        description: Option<String>,
        parameters: Option<Box<RawValue>>,
        strict: Option<bool>,
    },
    Custom {
        name: String,
        description: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        format: Option<Box<RawValue>>,
    },
    Namespace {
        name: String,
        description: Option<String>,
        tools: Vec<Self>,
    },
}

/// The choice among the tools, as requested and as echoed.
#[derive(Debug, Serialize, Deserialize)]
#[serde(
    untagged,
    expecting = "expected auto, none, required, {\"type\": \"function\", \"name\": …} or allowed_tools"
)]
pub(super) enum ToolChoiceEcho {
    Mode(String),
    Object {
        #[serde(rename = "type")]
        kind: String,
        #[serde(skip_serializing_if = "Option::is_none")]
        name: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        mode: Option<String>,
        #[serde(skip_serializing_if = "Option::is_none")]
        tools: Option<Vec<AllowedTool>>,
    },
}

impl ToolChoiceEcho {
    pub(super) fn auto() -> Self {
        Self::Mode("auto".to_owned())
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct AllowedTool {
    #[serde(rename = "type")]
    pub(super) kind: String,
    pub(super) name: Option<String>,
}
