//! The tools of a response, which OpenAI writes flat here, and which of them may be called.
//! OpenAI API reference, "Create a model response", `tools` and `tool_choice`.

use serde::Deserialize;
use serde_json::value::RawValue;

use super::echo::{ChoiceEcho, Named, ToolEcho};
use crate::openai::request::tools::{Choice, Description, offer};
use crate::openai::{ApiError, Ignored};
use crate::turn::Tools;

#[derive(Deserialize)]
pub(super) struct RawTool {
    #[serde(rename = "type")]
    kind: String,
    name: Option<String>,
    description: Option<String>,
    parameters: Option<Box<RawValue>>,
    strict: Option<bool>,
}

/// What becomes of tools that are no functions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OtherTools {
    /// The client is told that it cannot have them.
    Refuse,
    /// The client offers whatever it has and works with what is left.
    Drop,
}

/// The functions among the tools.
///
/// # Errors
/// A tool is none, or of a kind that Codex does not have.
pub(super) fn functions(
    tools: Vec<RawTool>,
    others: OtherTools,
    ignored: &mut Ignored,
) -> Result<Vec<ToolEcho>, ApiError> {
    let mut functions = Vec::with_capacity(tools.len());
    for (index, tool) in tools.into_iter().enumerate() {
        match (tool.kind.as_str(), others) {
            ("function", _) => functions.push(function(index, tool, ignored)?),
            (kind, OtherTools::Drop) => ignored.note(&format!("tools[].type={kind}"), true),
            (kind, OtherTools::Refuse) => {
                let text = format!("Tools of the type {kind:?} are not supported; use function.");
                return Err(ApiError::unsupported(format!("tools[{index}].type"), text));
            }
        }
    }
    Ok(functions)
}

fn function(index: usize, tool: RawTool, ignored: &mut Ignored) -> Result<ToolEcho, ApiError> {
    ignored.note("tools[].strict", tool.strict == Some(true));
    let nameless = || {
        let text = "A function needs a name: {\"type\": \"function\", \"name\": …}.";
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

/// The tools that the model is offered.
///
/// # Errors
/// A name is not one, or chosen and not there.
pub(super) fn tools(
    functions: &[ToolEcho],
    choice: &ChoiceEcho,
    parallel: bool,
) -> Result<Tools, ApiError> {
    let mut described = functions.iter().enumerate().map(describe).collect();
    let choice = match choice {
        ChoiceEcho::Word(word) => of_word(word, "tool_choice")?,
        ChoiceEcho::Object {
            kind,
            name,
            mode,
            tools,
        } => match (kind.as_str(), name, tools) {
            ("function", Some(name), _) => Choice::Named(name.clone()),
            ("allowed_tools", _, Some(allowed)) => {
                allow(&mut described, allowed)?;
                of_word(mode.as_deref().unwrap_or("auto"), "tool_choice.mode")?
            }
            _ => {
                let text = "Such a choice is not supported; use auto, none, required, {\"type\": \"function\", \"name\": …} or allowed_tools.";
                return Err(ApiError::unsupported("tool_choice", text));
            }
        },
    };
    offer(described, choice, !parallel)
}

fn of_word(word: &str, param: &str) -> Result<Choice, ApiError> {
    Choice::of_word(word).ok_or_else(|| {
        let text = format!("{word:?} is no choice of tools; use auto, none or required.");
        ApiError::invalid(text).at(param)
    })
}

/// Leaves those that may be called.
fn allow(described: &mut Vec<Description>, allowed: &[Named]) -> Result<(), ApiError> {
    for (index, tool) in allowed.iter().enumerate() {
        let is_there = |name: &String| described.iter().any(|other| other.name == *name);
        if tool.kind != "function" || !tool.name.as_ref().is_some_and(is_there) {
            let text = "This is none of the functions in `tools`.";
            return Err(ApiError::invalid(text).at(format!("tool_choice.tools[{index}]")));
        }
    }
    let is_allowed = |name: &str| {
        allowed
            .iter()
            .any(|tool| tool.name.as_deref() == Some(name))
    };
    described.retain(|tool| is_allowed(&tool.name));
    Ok(())
}

fn describe((index, function): (usize, &ToolEcho)) -> Description {
    Description {
        name: function.name.clone(),
        description: function.description.clone(),
        parameters: function.parameters.clone(),
        param: format!("tools[{index}].name"),
    }
}
