//! The tools of a chat: in OpenAI's nested form, or flat as some clients send them.
//! OpenAI API reference, "Create chat completion", `tools` and `tool_choice`.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::openai::request::body::{self, Object};
use crate::openai::request::tools::{
    ToolChoice, ToolDefinition, parse_mode, retain_allowed, select_tools,
};
use crate::openai::{ApiError, IgnoredFields};
use crate::turn::{ToolKind, Tools};

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
pub(super) struct ChatFunction {
    name: String,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
    strict: Option<bool>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected auto, none, required, {\"type\": \"function\", \"function\": {\"name\": …}} or {\"type\": \"allowed_tools\", \"allowed_tools\": {\"mode\": …, \"tools\": …}}"
)]
pub(super) enum ChatToolChoice {
    Mode(String),
    Allowed(Object<AllowedToolsChoice>),
    Function(Object<FunctionChoice>),
    Flat(Object<NamedFunction>),
}

#[derive(Deserialize)]
pub(super) struct AllowedToolsChoice {
    allowed_tools: Object<AllowedTools>,
}

#[derive(Deserialize)]
struct AllowedTools {
    mode: Option<String>,
    tools: Vec<Object<FunctionChoice>>,
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
    let mut definitions: Vec<_> = tools
        .into_iter()
        .enumerate()
        .map(|(index, tool)| definition(index, tool, ignored))
        .collect::<Result<_, _>>()?;
    let choice = match choice {
        None => ToolChoice::Auto,
        Some(ChatToolChoice::Mode(mode)) => parse_mode(&mode, "tool_choice")?,
        Some(ChatToolChoice::Allowed(Object(choice))) => allowed(choice, &mut definitions)?,
        Some(
            ChatToolChoice::Function(Object(FunctionChoice {
                function: Object(NamedFunction { name }),
            }))
            | ChatToolChoice::Flat(Object(NamedFunction { name })),
        ) => ToolChoice::Named(name),
    };
    select_tools(definitions, choice, parallel == Some(false))
}

/// Removes the tools that the choice does not allow, since Codex cannot restrict a turn to some of its tools.
fn allowed(
    choice: AllowedToolsChoice,
    definitions: &mut Vec<ToolDefinition>,
) -> Result<ToolChoice, ApiError> {
    let Object(AllowedTools { mode, tools }) = choice.allowed_tools;
    let names = tools.into_iter().map(|Object(tool)| {
        let Object(NamedFunction { name }) = tool.function;
        Some(name)
    });
    retain_allowed(definitions, names, "tool_choice.allowed_tools.tools")?;
    parse_mode(
        mode.as_deref().unwrap_or("auto"),
        "tool_choice.allowed_tools.mode",
    )
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
    let strict = tool.function.as_ref().and_then(|function| function.strict);
    ignored.add_if("tools[].function.strict", strict == Some(true));
    // Beside `function`, the fields of the flat form have no effect.
    let is_nested = tool.function.is_some();
    for (path, is_present) in [
        ("tools[].name", is_nested && tool.name.is_some()),
        (
            "tools[].description",
            is_nested && tool.description.is_some(),
        ),
        ("tools[].parameters", is_nested && tool.parameters.is_some()),
        ("tools[].strict", tool.strict == Some(true)),
    ] {
        ignored.add_if(path, is_present);
    }
    match (tool.function, tool.name) {
        // Some clients send both forms; the nested one is OpenAI's.
        (Some(function), _) => Ok(ToolDefinition {
            name: function.name,
            namespace: None,
            kind: ToolKind::Function,
            description: function.description,
            parameters: function.parameters,
            schema_field: "parameters",
            param: format!("{param}.function.name"),
        }),
        (None, Some(name)) => Ok(ToolDefinition {
            name,
            namespace: None,
            kind: ToolKind::Function,
            description: tool.description,
            parameters: tool.parameters,
            schema_field: "parameters",
            param: format!("{param}.name"),
        }),
        (None, None) => {
            let text = "Missing `function` of the tool: {\"type\": \"function\", \"function\": {\"name\": …}}.";
            Err(ApiError::invalid(text).at(format!("{param}.function")))
        }
    }
}
