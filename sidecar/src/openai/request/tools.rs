//! Tools of a request in any of the request formats: their names, their number, and the choice among them.
//! OpenAI API reference, "Function calling".

use std::collections::HashSet;
use std::sync::Arc;

use serde_json::json;
use serde_json::value::{RawValue, to_raw_value};

use super::schema::{InvalidSchema, fit};
use super::validate::{check_tool_name, parse_object};
use crate::openai::response::error::ApiError;
use crate::turn::{Tool, ToolKind, ToolNamespace, Tools};

/// Tools in one request. OpenAI accepts 128; agents with several tool servers were seen to send more.
const MAX_TOOLS: usize = 512;

/// The client's `tool_choice`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ToolChoice {
    /// The model decides whether to call tools, and which.
    Auto,
    /// The model must not call a tool.
    None,
    /// The model must call at least one tool.
    Required,
    /// The model must call the tool of this name.
    Named(String),
}

impl ToolChoice {
    /// Parses a choice that is written as a string.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        match text {
            "auto" => Some(Self::Auto),
            "none" => Some(Self::None),
            "required" => Some(Self::Required),
            _ => None,
        }
    }
}

/// A tool as the client defines it.
#[derive(Debug)]
pub(crate) struct ToolDefinition {
    pub(crate) name: String,
    /// The namespace of the tool, which the Responses API has.
    pub(crate) namespace: Option<Arc<ToolNamespace>>,
    pub(crate) kind: ToolKind,
    pub(crate) description: Option<String>,
    pub(crate) parameters: Option<Box<RawValue>>,
    /// Name of the field that has `parameters` in the request.
    pub(crate) schema_field: &'static str,
    /// Path of the name in the request.
    pub(crate) param: String,
}

/// Checks the tools of a request, and returns those that `choice` offers to the model.
///
/// # Errors
/// 400 for an invalid or repeated name, and for a choice of a tool that the request does not define.
pub(crate) fn select_tools(
    definitions: Vec<ToolDefinition>,
    choice: ToolChoice,
    one_at_a_time: bool,
) -> Result<Tools, ApiError> {
    check(&definitions)?;
    let mut offered: Vec<Tool> = definitions
        .into_iter()
        .map(tool)
        .collect::<Result<_, _>>()?;
    let required = match choice {
        ToolChoice::Auto => false,
        ToolChoice::None => {
            offered.clear();
            false
        }
        ToolChoice::Required => true,
        ToolChoice::Named(name) => {
            // Codex has no field for a tool choice, so the model is offered only the named tool.
            offered.retain(|tool| tool.name == name);
            if offered.is_empty() {
                let text = format!("`tool_choice` names {name:?}, which is not in `tools`.");
                return Err(ApiError::invalid(text).at("tool_choice"));
            }
            true
        }
    };
    if required && offered.is_empty() {
        let text = "`tool_choice` requires a tool call, but `tools` is empty.";
        return Err(ApiError::invalid(text).at("tool_choice"));
    }
    Ok(Tools {
        offered,
        required,
        one_at_a_time,
    })
}

/// Parses a choice that is written as a string in `param`.
///
/// # Errors
/// 400 for another string than auto, none and required.
pub(crate) fn parse_mode(mode: &str, param: &str) -> Result<ToolChoice, ApiError> {
    ToolChoice::parse(mode).ok_or_else(|| {
        let text = format!("Invalid tool choice {mode:?}. Use auto, none or required.");
        ApiError::invalid(text).at(param)
    })
}

/// Removes the tools whose names are not in the list at `param`; `None` stands for a tool of another type.
///
/// # Errors
/// 400 for an element that does not name a function of the request.
pub(crate) fn retain_allowed(
    definitions: &mut Vec<ToolDefinition>,
    names: impl Iterator<Item = Option<String>>,
    param: &str,
) -> Result<(), ApiError> {
    let mut allowed = HashSet::new();
    for (index, name) in names.enumerate() {
        let is_defined = |name: &String| definitions.iter().any(|other| other.name == *name);
        let Some(name) = name.filter(is_defined) else {
            let text = format!("`{param}` must name functions in `tools`.");
            return Err(ApiError::invalid(text).at(format!("{param}[{index}]")));
        };
        allowed.insert(name);
    }
    if allowed.is_empty() {
        let text = format!("`{param}` must name at least one tool; use `none` to call no tool.");
        return Err(ApiError::invalid(text).at(param));
    }
    definitions.retain(|tool| allowed.contains(&tool.name));
    Ok(())
}

fn check(definitions: &[ToolDefinition]) -> Result<(), ApiError> {
    if definitions.len() > MAX_TOOLS {
        let text = format!(
            "`tools` accepts at most {MAX_TOOLS} tools, not {}.",
            definitions.len()
        );
        return Err(ApiError::invalid(text).at("tools"));
    }
    let mut names = HashSet::new();
    for tool in definitions {
        let name = tool.name.as_str();
        check_tool_name(name, &tool.param)?;
        let namespace = tool.namespace.as_deref();
        if !names.insert((namespace.map(|namespace| namespace.name.as_str()), name)) {
            let text = format!("Invalid tool name {name:?}: tool names must be unique.");
            return Err(ApiError::invalid(text).at(&tool.param));
        }
    }
    Ok(())
}

/// Converts a definition. Where Codex would lose a part of the schema, the description has the whole schema.
///
/// # Errors
/// 400 for a schema that Codex or the provider would reject.
fn tool(definition: ToolDefinition) -> Result<Tool, ApiError> {
    let mut description = definition.description.unwrap_or_default();
    // A missing schema means no arguments, as with OpenAI.
    let mut parameters = json!({"type": "object", "properties": {}});
    if let Some(schema) = definition.parameters {
        let param = definition.param.trim_end_matches("name");
        let field = definition.schema_field;
        let param = format!("{param}{field}");
        let Some(fields) = parse_object(&schema, &param)? else {
            let text = "Invalid tool parameters: they must be a JSON schema, an object of at most 100 levels such as {\"type\": \"object\", \"properties\": …}.";
            return Err(ApiError::invalid(text).at(param));
        };
        let fitted = fit(&fields).map_err(|InvalidSchema { place, expected }| {
            let name = &definition.name;
            let text = format!(
                "Invalid schema for function '{name}': `{field}{place}` must be {expected}."
            );
            ApiError::bad_request("invalid_function_parameters", text).at(format!("{param}{place}"))
        })?;
        parameters = fitted.schema;
        if !fitted.is_whole {
            append_schema(&mut description, &schema);
        }
    }
    Ok(Tool {
        name: definition.name,
        namespace: definition.namespace,
        kind: definition.kind,
        description,
        parameters: to_raw_value(&parameters).expect("a value serialises into memory"),
    })
}

/// Appends a schema as the client wrote it, without the white space between tokens.
fn append_schema(description: &mut String, schema: &RawValue) {
    if !description.is_empty() {
        description.push_str("\n\n");
    }
    description.push_str("Parameters (JSON Schema): ");
    let (mut in_string, mut is_escaped) = (false, false);
    for character in schema.get().chars() {
        if in_string {
            in_string = is_escaped || character != '"';
            is_escaped = !is_escaped && character == '\\';
        } else if character.is_ascii_whitespace() {
            continue;
        } else {
            in_string = character == '"';
        }
        description.push(character);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn schema_in_a_description_has_white_space_in_strings_only() {
        let schema = r#"{ "a b" : "\\", "c\" d":
            [1, 2] }"#;
        let schema = RawValue::from_string(schema.to_owned()).unwrap();
        let mut description = "Looks.".to_owned();
        append_schema(&mut description, &schema);
        let expected = r#"{"a b":"\\","c\" d":[1,2]}"#;
        assert_eq!(
            description,
            format!("Looks.\n\nParameters (JSON Schema): {expected}")
        );
    }
}
