//! The tools of a chat, as OpenAI writes them, or flat as some clients do.
//! OpenAI API reference, "Create chat completion", `tools` and `tool_choice`.

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::openai::request::body::{self, Object};
use crate::openai::request::tools::{Choice, Description, offer};
use crate::openai::{ApiError, Ignored};
use crate::turn::Tools;

/// A tool; Cursor puts the fields of its function right here.
#[derive(Deserialize)]
pub(super) struct RawTool {
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default, deserialize_with = "body::object")]
    function: Option<RawFunction>,
    name: Option<String>,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
    strict: Option<bool>,
}

#[derive(Deserialize)]
struct RawFunction {
    name: String,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
    strict: Option<bool>,
}

#[derive(Deserialize)]
#[serde(
    untagged,
    expecting = "expected auto, none, required, or {\"type\": \"function\", \"function\": {\"name\": …}}"
)]
pub(super) enum RawChoice {
    Word(String),
    Function(Object<FunctionChoice>),
    Flat(Object<Named>),
}

#[derive(Deserialize)]
pub(super) struct FunctionChoice {
    function: Object<Named>,
}

#[derive(Deserialize)]
pub(super) struct Named {
    name: String,
}

/// The tools that the model is offered.
///
/// # Errors
/// A tool is none, of a kind that Codex does not have, or chosen and not there.
pub(super) fn tools(
    tools: Vec<RawTool>,
    choice: Option<RawChoice>,
    parallel: Option<bool>,
    ignored: &mut Ignored,
) -> Result<Tools, ApiError> {
    let choice = match choice {
        None => Choice::Auto,
        Some(RawChoice::Word(word)) => Choice::of_word(&word).ok_or_else(|| {
            let text =
                format!("{word:?} is no tool_choice; use auto, none, required or a function.");
            ApiError::invalid(text).at("tool_choice")
        })?,
        Some(
            RawChoice::Function(Object(FunctionChoice {
                function: Object(Named { name }),
            }))
            | RawChoice::Flat(Object(Named { name })),
        ) => Choice::Named(name),
    };
    let numbered = tools.into_iter().enumerate();
    let described = numbered.map(|(index, tool)| describe(index, tool, ignored));
    let described = described.collect::<Result<_, _>>()?;
    offer(described, choice, parallel == Some(false))
}

fn describe(index: usize, tool: RawTool, ignored: &mut Ignored) -> Result<Description, ApiError> {
    let param = format!("tools[{index}]");
    if let Some(other) = tool.kind.as_deref().filter(|kind| *kind != "function") {
        let text = format!("Tools of the type {other:?} are not supported; use function.");
        return Err(ApiError::unsupported(format!("{param}.type"), text));
    }
    let strict = tool
        .function
        .as_ref()
        .map_or(tool.strict, |function| function.strict);
    ignored.note("tools[].function.strict", strict == Some(true));
    match (tool.function, tool.name) {
        (Some(function), _) => Ok(Description {
            name: function.name,
            description: function.description,
            parameters: function.parameters,
            param: format!("{param}.function.name"),
        }),
        (None, Some(name)) => Ok(Description {
            name,
            description: tool.description,
            parameters: tool.parameters,
            param: format!("{param}.name"),
        }),
        (None, None) => {
            let text =
                "A tool needs a function: {\"type\": \"function\", \"function\": {\"name\": …}}.";
            Err(ApiError::invalid(text).at(format!("{param}.function")))
        }
    }
}
