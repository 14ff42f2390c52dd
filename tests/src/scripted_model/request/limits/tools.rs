//! The tools of a request: their types, names and schemas.
//! OpenAI API reference, "Create a model response", `tools` and `tool_choice`.

use std::collections::HashSet;

use super::field::Field;
use super::schema::{self, Strictness};
use crate::scripted_model::error::ApiError;

/// Types of tools without a name of their own.
const UNNAMED_TOOLS: &[&str] = &[
    "apply_patch",
    "code_interpreter",
    "file_search",
    "image_generation",
    "local_shell",
    "mcp",
    "shell",
    "tool_search",
    "web_search",
    "web_search_preview",
];

/// Checks `tools` and `tool_choice`.
pub(super) fn check(body: &Field<'_>) -> Result<(), ApiError> {
    if let Some(tools) = body.optional("tools") {
        check_all(&tools)?;
    }
    match body.optional("tool_choice") {
        Some(choice) if choice.value.is_string() => {
            choice.one_of(&["none", "auto", "required"]).map(drop)
        }
        Some(_) | None => Ok(()),
    }
}

/// Checks the tools of a request, of an item `additional_tools`, or of a namespace.
pub(super) fn check_all(tools: &Field<'_>) -> Result<(), ApiError> {
    let mut names = HashSet::new();
    for tool in tools.elements()? {
        tool.object()?;
        if let Some(name) = check_tool(&tool)?
            && !names.insert(name)
        {
            let text = format!("Duplicate tool name '{name}': tool names must be unique.");
            return Err(tool.required("name")?.invalid("invalid_value", text));
        }
    }
    Ok(())
}

/// Checks a tool, and returns its name.
fn check_tool<'a>(tool: &Field<'a>) -> Result<Option<&'a str>, ApiError> {
    let kind = tool.required("type")?;
    match kind.text()? {
        "function" => check_function(tool).map(Some),
        "custom" => tool.required("name")?.name().map(Some),
        "namespace" => {
            check_all(&tool.required("tools")?)?;
            tool.required("name")?.name().map(Some)
        }
        _ => kind.one_of(UNNAMED_TOOLS).map(|_| None),
    }
}

fn check_function<'a>(tool: &Field<'a>) -> Result<&'a str, ApiError> {
    let name = tool.required("name")?.name()?;
    let parameters = tool.required("parameters")?;
    parameters.object()?;
    if parameters.value["type"] == "object" && parameters.optional("properties").is_none() {
        let text = format!(
            "Invalid schema for function '{name}': In context=(), object schema missing properties."
        );
        return Err(parameters.invalid("invalid_function_parameters", text));
    }
    schema::check(parameters.value, Strictness::of(tool)?).map_err(|reason| {
        let text = format!("Invalid schema for function '{name}': {reason}");
        parameters.invalid("invalid_function_parameters", text)
    })?;
    Ok(name)
}
