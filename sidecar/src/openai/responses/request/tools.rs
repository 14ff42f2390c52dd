//! The tools of a request in the flat form of the Responses API, and the choice among them.
//! OpenAI API reference, "Create a model response", `tools` and `tool_choice`.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::openai::request::tools::{
    ToolChoice, ToolDefinition, parse_mode, retain_allowed, select_tools,
};
use crate::openai::responses::echo::{AllowedTool, ToolChoiceEcho, ToolEcho};
use crate::openai::{ApiError, IgnoredFields};
use crate::turn::Tools;

#[derive(Deserialize)]
pub(super) struct ResponseTool {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
    strict: Option<bool>,
}

/// The handling of tools of another type than function.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OtherTools {
    /// Reject the request.
    Reject,
    /// Leave the tools out: the client offers all of its tools and works with fewer.
    Drop,
}

/// Returns the functions among the tools.
///
/// # Errors
/// 400 for a function without a name, and for another type of tool unless `others` drops it.
pub(super) fn functions(
    tools: Vec<ResponseTool>,
    others: OtherTools,
    ignored: &mut IgnoredFields,
) -> Result<Vec<ToolEcho>, ApiError> {
    let mut functions = Vec::with_capacity(tools.len());
    for (index, tool) in tools.into_iter().enumerate() {
        match (tool.kind.as_str(), others) {
            ("function", _) => functions.push(function(index, tool, ignored)?),
            (kind, OtherTools::Drop) => ignored.add_if(&format!("tools[].type={kind}"), true),
            (kind, OtherTools::Reject) => {
                let text = format!("Unsupported tool type {kind:?}. Use function.");
                return Err(ApiError::unsupported(format!("tools[{index}].type"), text));
            }
        }
    }
    Ok(functions)
}

fn function(
    index: usize,
    tool: ResponseTool,
    ignored: &mut IgnoredFields,
) -> Result<ToolEcho, ApiError> {
    ignored.add_if("tools[].strict", tool.strict == Some(true));
    let nameless = || {
        let text = "Missing `name` of the function: {\"type\": \"function\", \"name\": …}.";
        ApiError::invalid(text).at(format!("tools[{index}].name"))
    };
    Ok(ToolEcho {
        r#type: "function",
        name: tool.name.ok_or_else(nameless)?,
        description: tool.description,
        parameters: tool.parameters,
        strict: tool.strict,
    })
}

/// Returns the tools that are offered to the model.
///
/// # Errors
/// 400 for an invalid name, and for a choice that is unsupported or names a function that the request does not define.
pub(super) fn tools(
    functions: &[ToolEcho],
    choice: &ToolChoiceEcho,
    parallel: bool,
) -> Result<Tools, ApiError> {
    let mut definitions = functions.iter().enumerate().map(definition).collect();
    let choice = match choice {
        ToolChoiceEcho::Mode(mode) => parse_mode(mode, "tool_choice")?,
        ToolChoiceEcho::Object {
            kind,
            name,
            mode,
            tools,
        } => match (kind.as_str(), name, tools) {
            ("function", Some(name), _) => ToolChoice::Named(name.clone()),
            // The other tools stay in the echo, but are not offered: Codex cannot restrict a turn to some of its tools.
            ("allowed_tools", _, Some(allowed)) => {
                let is_function = |tool: &&AllowedTool| tool.kind == "function";
                let names = allowed
                    .iter()
                    .map(|tool| Some(tool).filter(is_function)?.name.clone());
                retain_allowed(&mut definitions, names, "tool_choice.tools")?;
                parse_mode(mode.as_deref().unwrap_or("auto"), "tool_choice.mode")?
            }
            _ => {
                let text = "Unsupported tool choice. Use auto, none, required, {\"type\": \"function\", \"name\": …} or allowed_tools.";
                return Err(ApiError::unsupported("tool_choice", text));
            }
        },
    };
    select_tools(definitions, choice, !parallel)
}

fn definition((index, function): (usize, &ToolEcho)) -> ToolDefinition {
    ToolDefinition {
        name: function.name.clone(),
        description: function.description.clone(),
        parameters: function.parameters.clone(),
        param: format!("tools[{index}].name"),
    }
}
