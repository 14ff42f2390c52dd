//! The tools of a request, whichever dialect they are written in: names, number, and which of them may be called.
//! OpenAI API reference, "Function calling"; the names are those that Codex takes too.

use std::collections::HashSet;

use serde_json::value::RawValue;

use super::fields::is_object;
use crate::openai::response::error::ApiError;
use crate::turn::{Tool, Tools};

/// Tools in one request. OpenAI takes 128; agents with several tool servers were seen to send more.
const MAX_TOOLS: usize = 512;

/// Characters of a tool's name.
const MAX_NAME: usize = 64;

/// What a client says about which tools may be called.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::openai) enum Choice {
    /// Whichever the model likes, or none.
    Auto,
    /// None.
    None,
    /// At least one.
    Required,
    /// This one.
    Named(String),
}

impl Choice {
    /// A choice that is a word.
    pub(in crate::openai) fn of_word(word: &str) -> Option<Self> {
        match word {
            "auto" => Some(Self::Auto),
            "none" => Some(Self::None),
            "required" => Some(Self::Required),
            _ => None,
        }
    }
}

/// A tool as a client describes it.
#[derive(Debug)]
pub(in crate::openai) struct Description {
    pub(in crate::openai) name: String,
    pub(in crate::openai) description: Option<String>,
    pub(in crate::openai) parameters: Option<Box<RawValue>>,
    /// Where the name stands in the request.
    pub(in crate::openai) param: String,
}

/// The tools that the model is offered.
///
/// # Errors
/// A name is not one, comes twice, or is chosen and not there.
pub(in crate::openai) fn offer(
    described: Vec<Description>,
    choice: Choice,
    one_at_a_time: bool,
) -> Result<Tools, ApiError> {
    check(&described)?;
    let mut offered: Vec<Tool> = described.into_iter().map(tool).collect();
    let required = match choice {
        Choice::Auto => false,
        Choice::None => {
            offered.clear();
            false
        }
        Choice::Required => true,
        Choice::Named(name) => {
            offered.retain(|tool| tool.name == name);
            if offered.is_empty() {
                let text = format!("`tool_choice` names {name:?}, which is not among the tools.");
                return Err(ApiError::invalid(text).at("tool_choice"));
            }
            true
        }
    };
    if required && offered.is_empty() {
        let text = "`tool_choice` requires a call, but there are no tools.";
        return Err(ApiError::invalid(text).at("tool_choice"));
    }
    Ok(Tools {
        offered,
        required,
        one_at_a_time,
    })
}

fn check(described: &[Description]) -> Result<(), ApiError> {
    if described.len() > MAX_TOOLS {
        let text = format!(
            "{} tools are too many; send at most {MAX_TOOLS}.",
            described.len()
        );
        return Err(ApiError::invalid(text).at("tools"));
    }
    let mut names = HashSet::new();
    for tool in described {
        let name = tool.name.as_str();
        if !is_name(name) {
            let text = format!(
                "{name:?} is no name for a tool; use 1 to {MAX_NAME} of a-z, A-Z, 0-9, _ and -."
            );
            return Err(ApiError::invalid(text).at(&tool.param));
        }
        if tool
            .parameters
            .as_deref()
            .is_some_and(|schema| !is_object(schema))
        {
            let text = "The parameters of a tool are a JSON schema, an object of at most 100 levels: {\"type\": \"object\", \"properties\": …}.";
            let place = tool.param.trim_end_matches("name");
            return Err(ApiError::invalid(text).at(format!("{place}parameters")));
        }
        if !names.insert(name) {
            let text =
                format!("Two tools have the name {name:?}; the model could not tell them apart.");
            return Err(ApiError::invalid(text).at(&tool.param));
        }
    }
    Ok(())
}

/// Whether `name` is one that OpenAI and Codex take.
pub(in crate::openai) fn is_name(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=MAX_NAME).contains(&name.len()) && name.bytes().all(plain)
}

/// Codex wants a description and a schema of each tool; no schema stands for no arguments, as with OpenAI.
fn tool(described: Description) -> Tool {
    let no_arguments = || {
        let schema = r#"{"type":"object","properties":{}}"#.to_owned();
        RawValue::from_string(schema).expect("a literal that is JSON")
    };
    Tool {
        name: described.name,
        description: described.description.unwrap_or_default(),
        parameters: described.parameters.unwrap_or_else(no_arguments),
    }
}
