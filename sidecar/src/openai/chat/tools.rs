//! The tools of a chat: in OpenAI's nested form, or flat as some clients send them.
//! OpenAI API reference, "Create chat completion", `tools` and `tool_choice`.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::openai::request::body::{self, Object};
use crate::openai::request::tools::{ToolChoice, ToolDefinition, select_tools};
use crate::openai::{ApiError, IgnoredFields};
use crate::turn::Tools;

/// A tool. Cursor sends the fields of the function at this level.
#[derive(Deserialize)]
pub(super) struct ChatTool {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "body::object")]
    function: Option<ChatFunction>,
    name: Option<String>,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
    strict: Option<bool>,
}

#[derive(Deserialize)]
struct ChatFunction {
    name: String,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
    strict: Option<bool>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected auto, none, required or {\"type\": \"function\", \"function\": {\"name\": …}}"
)]
pub(super) enum ChatToolChoice {
    Mode(String),
    Function(Object<FunctionChoice>),
    Flat(Object<NamedFunction>),
}

#[derive(Deserialize)]
pub(super) struct FunctionChoice {
    function: Object<NamedFunction>,
}

#[derive(Deserialize)]
pub(super) struct NamedFunction {
    name: String,
}

/// Returns the tools that are offered to the model.
///
/// # Errors
/// 400 for an invalid tool, a type other than function, and a choice of a tool that the request does not define.
pub(super) fn tools(
    tools: Vec<ChatTool>,
    choice: Option<ChatToolChoice>,
    parallel: Option<bool>,
    ignored: &mut IgnoredFields,
) -> Result<Tools, ApiError> {
    let choice = match choice {
        None => ToolChoice::Auto,
        Some(ChatToolChoice::Mode(mode)) => ToolChoice::parse(&mode).ok_or_else(|| {
            let text =
                format!("Invalid tool choice {mode:?}. Use auto, none, required or a function.");
            ApiError::invalid(text).at("tool_choice")
        })?,
        Some(
            ChatToolChoice::Function(Object(FunctionChoice {
                function: Object(NamedFunction { name }),
            }))
            | ChatToolChoice::Flat(Object(NamedFunction { name })),
        ) => ToolChoice::Named(name),
    };
    let definitions = tools
        .into_iter()
        .enumerate()
        .map(|(index, tool)| definition(index, tool, ignored))
        .collect::<Result<_, _>>()?;
    select_tools(definitions, choice, parallel == Some(false))
}

fn definition(
    index: usize,
    tool: ChatTool,
    ignored: &mut IgnoredFields,
) -> Result<ToolDefinition, ApiError> {
    let param = format!("tools[{index}]");
    if let Some(other) = tool.kind.as_deref().filter(|kind| *kind != "function") {
        let text = format!("Unsupported tool type {other:?}. Use function.");
        return Err(ApiError::unsupported(format!("{param}.type"), text));
    }
    let strict = tool
        .function
        .as_ref()
        .map_or(tool.strict, |function| function.strict);
    ignored.add_if("tools[].function.strict", strict == Some(true));
    match (tool.function, tool.name) {
        // Some clients send both forms; the nested one is OpenAI's.
        (Some(function), _) => Ok(ToolDefinition {
            name: function.name,
            description: function.description,
            parameters: function.parameters,
            param: format!("{param}.function.name"),
        }),
        (None, Some(name)) => Ok(ToolDefinition {
            name,
            description: tool.description,
            parameters: tool.parameters,
            param: format!("{param}.name"),
        }),
        (None, None) => {
            let text = "Missing `function` of the tool: {\"type\": \"function\", \"function\": {\"name\": …}}.";
            Err(ApiError::invalid(text).at(format!("{param}.function")))
        }
    }
}
