//! `tools` and `tool_choice`: functions that the client runs.
//! Anthropic API reference, "Tool use". Tools with a type of the API's own need a server, or a model that was trained on
//! them, so that they are refused.

use std::collections::BTreeSet;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use crate::openai::request::body::{self, AnyObject};
use crate::openai::request::tools::{ToolChoice, ToolDefinition, select_tools};
use crate::openai::{ApiError, IgnoredFields};
use crate::turn::{ToolKind, Tools};

/// A tool.
#[derive(Deserialize)]
pub(super) struct ToolField {
    #[serde(rename = "type")]
    kind: Option<String>,
    name: Option<String>,
    description: Option<String>,
    input_schema: Option<Box<RawValue>>,
    strict: Option<bool>,
    defer_loading: Option<bool>,
    allowed_callers: Option<Vec<String>>,
    eager_input_streaming: Option<bool>,
    input_examples: Option<Vec<IgnoredAny>>,
    cache_control: Option<AnyObject>,
}

/// The `tool_choice` field.
#[derive(Deserialize)]
pub(super) struct ToolChoiceField {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    disable_parallel_tool_use: Option<bool>,
}

/// The tool of a change in the conversation.
#[derive(Deserialize)]
pub(super) struct ToolReference {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    #[serde(default, deserialize_with = "body::object")]
    definition: Option<ToolField>,
}

/// A change of the offered tools in the conversation.
pub(super) enum ToolChange {
    /// The tool of this name, which `tools` defines, is offered from here on.
    Added(String),
    /// A tool is defined, and offered from here on; with its path.
    Defined(Box<ToolField>, String),
    /// The tool of this name is not offered any longer.
    Removed(String),
}

impl ToolReference {
    /// Returns the change that a block makes at `param`.
    ///
    /// # Errors
    /// 400 for a reference that does not name a tool of the client.
    pub(super) fn change(self, is_added: bool, param: &str) -> Result<ToolChange, ApiError> {
        match (self.kind.as_str(), self.name, self.definition) {
            ("tool_reference", Some(name), _) if is_added => Ok(ToolChange::Added(name)),
            ("tool_reference", Some(name), _) => Ok(ToolChange::Removed(name)),
            ("tool_definition", _, Some(definition)) if is_added => Ok(ToolChange::Defined(
                Box::new(definition),
                format!("{param}.tool.definition"),
            )),
            ("tool_reference", None, _) => {
                let text = "Missing `name` of the tool.";
                Err(ApiError::invalid(text).at(format!("{param}.tool.name")))
            }
            (other, ..) => {
                let text =
                    format!("Unsupported reference {other:?} to a tool. Use tool_reference.");
                Err(ApiError::unsupported(format!("{param}.tool.type"), text))
            }
        }
    }
}

/// Returns the tools that are offered to the model, after the changes in the conversation.
///
/// # Errors
/// 400 for an invalid tool, a tool of the API's own, and a choice of a tool that is not offered.
pub(super) fn tools(
    fields: Vec<ToolField>,
    choice: Option<ToolChoiceField>,
    changes: Vec<ToolChange>,
    ignored: &mut IgnoredFields,
) -> Result<Tools, ApiError> {
    let mut definitions = Vec::with_capacity(fields.len());
    let mut offered = BTreeSet::new();
    for (index, field) in fields.into_iter().enumerate() {
        let is_deferred = field.defer_loading == Some(true);
        let definition = definition(field, &format!("tools[{index}]"), ignored)?;
        if !is_deferred {
            offered.insert(definition.name.clone());
        }
        definitions.push(definition);
    }
    for change in changes {
        match change {
            ToolChange::Added(name) => {
                offered.insert(name);
            }
            ToolChange::Removed(name) => {
                offered.remove(&name);
            }
            ToolChange::Defined(field, param) => {
                let definition = definition(*field, &param, ignored)?;
                offered.insert(definition.name.clone());
                // A later definition replaces an earlier one of its name.
                definitions.retain(|other| other.name != definition.name);
                definitions.push(definition);
            }
        }
    }
    definitions.retain(|tool| offered.contains(&tool.name));
    let disable_parallel = choice
        .as_ref()
        .and_then(|choice| choice.disable_parallel_tool_use);
    let choice = choice.map_or(Ok(ToolChoice::Auto), parse_choice)?;
    select_tools(definitions, choice, disable_parallel == Some(true))
}

fn parse_choice(field: ToolChoiceField) -> Result<ToolChoice, ApiError> {
    match (field.kind.as_str(), field.name) {
        ("auto", _) => Ok(ToolChoice::Auto),
        ("any", _) => Ok(ToolChoice::Required),
        ("none", _) => Ok(ToolChoice::None),
        ("tool", Some(name)) => Ok(ToolChoice::Named(name)),
        ("tool", None) => {
            let text = "Missing `tool_choice.name`, which the type tool requires.";
            Err(ApiError::invalid(text).at("tool_choice.name"))
        }
        (other, _) => {
            let text = format!("Invalid tool choice {other:?}. Use auto, any, tool or none.");
            Err(ApiError::invalid(text).at("tool_choice.type"))
        }
    }
}

fn definition(
    field: ToolField,
    param: &str,
    ignored: &mut IgnoredFields,
) -> Result<ToolDefinition, ApiError> {
    if let Some(other) = field.kind.as_deref().filter(|kind| *kind != "custom") {
        let text = format!(
            "Unsupported tool type {other:?}. Use custom, with a name and an input_schema: this server runs no tools, and its models know no tools by their type."
        );
        return Err(ApiError::unsupported(format!("{param}.type"), text));
    }
    let callers = field.allowed_callers.unwrap_or_default();
    if !callers.is_empty() && !callers.iter().any(|caller| caller == "direct") {
        let text = "Unsupported `allowed_callers`: tools are called by the model. Use direct.";
        return Err(ApiError::unsupported(
            format!("{param}.allowed_callers"),
            text,
        ));
    }
    let has_examples = field.input_examples.is_some_and(|list| !list.is_empty());
    for (path, is_present) in [
        ("tools[].strict", field.strict == Some(true)),
        (
            "tools[].eager_input_streaming",
            field.eager_input_streaming == Some(true),
        ),
        ("tools[].input_examples", has_examples),
        ("tools[].cache_control", field.cache_control.is_some()),
    ] {
        ignored.add_if(path, is_present);
    }
    let missing = |name: &str| {
        ApiError::invalid(format!("Missing `{name}` of the tool.")).at(format!("{param}.{name}"))
    };
    Ok(ToolDefinition {
        name: field.name.ok_or_else(|| missing("name"))?,
        namespace: None,
        kind: ToolKind::Function,
        description: field.description,
        parameters: Some(field.input_schema.ok_or_else(|| missing("input_schema"))?),
        schema_field: "input_schema",
        param: format!("{param}.name"),
    })
}
