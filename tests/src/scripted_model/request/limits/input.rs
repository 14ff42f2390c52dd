//! The items of the input, and the pairs of tool calls and outputs among them.
//! OpenAI API reference, "Create a model response", `input`.

use std::collections::BTreeSet;

use super::field::Field;
use super::messages::{check_message, check_output};
use super::tools;
use crate::scripted_model::error::ApiError;

/// Types of items besides those with checks of their own.
const OTHER_ITEMS: &[&str] = &[
    "code_interpreter_call",
    "compaction",
    "computer_call",
    "context_compaction",
    "file_search_call",
    "image_generation_call",
    "item_reference",
    "mcp_approval_request",
    "mcp_approval_response",
    "mcp_call",
    "mcp_list_tools",
    "tool_search_call",
    "tool_search_output",
    "web_search_call",
];

/// Checks `input`.
pub(super) fn check(input: &Field<'_>) -> Result<(), ApiError> {
    if input.value.is_string() {
        return Ok(());
    }
    if !input.value.is_array() {
        return Err(input.wrong_type("one of an array of objects or string"));
    }
    let mut unanswered = BTreeSet::new();
    for item in input.elements()? {
        item.object()?;
        match check_item(&item)? {
            Item::Call(id) => {
                unanswered.insert(id);
            }
            Item::Output(id) if !unanswered.remove(id) => {
                let text =
                    format!("No tool call found for function call output with call_id {id}.");
                return Err(ApiError::invalid(text).at("input"));
            }
            Item::Output(_) | Item::Other => {}
        }
    }
    match unanswered.first() {
        Some(id) => {
            let text = format!("No tool output found for function call {id}.");
            Err(ApiError::invalid(text).at("input"))
        }
        None => Ok(()),
    }
}

/// The part of an item in a pair of a tool call and its output.
enum Item<'a> {
    /// A call with this id.
    Call(&'a str),
    /// The output of the call with this id.
    Output(&'a str),
    Other,
}

fn check_item<'a>(item: &Field<'a>) -> Result<Item<'a>, ApiError> {
    let kind = item.optional("type");
    match kind.as_ref().map_or(Ok("message"), Field::text)? {
        "message" => check_message(item).map(|()| Item::Other),
        "function_call" => check_call(item, "arguments").map(Item::Call),
        "custom_tool_call" => check_call(item, "input").map(Item::Call),
        "local_shell_call" => item.required("call_id")?.id().map(Item::Call),
        "function_call_output" | "custom_tool_call_output" | "local_shell_call_output" => {
            let id = item.required("call_id")?.id()?;
            check_output(&item.required("output")?)?;
            Ok(Item::Output(id))
        }
        "additional_tools" => tools::check_all(&item.required("tools")?).map(|()| Item::Other),
        "reasoning" => check_reasoning(item).map(|()| Item::Other),
        _ => {
            let kind = kind.as_ref().map(|kind| kind.one_of(OTHER_ITEMS));
            kind.transpose().map(|_| Item::Other)
        }
    }
}

/// Checks a call whose arguments are in the field `arguments`, and returns its id.
fn check_call<'a>(item: &Field<'a>, arguments: &str) -> Result<&'a str, ApiError> {
    let id = item.required("call_id")?.id()?;
    item.required("name")?.name()?;
    if let Some(namespace) = item.optional("namespace") {
        namespace.name()?;
    }
    item.required(arguments)?.text()?;
    Ok(id)
}

fn check_reasoning(item: &Field<'_>) -> Result<(), ApiError> {
    for part in item.required("summary")?.elements()? {
        part.required("type")?.one_of(&["summary_text"])?;
        part.required("text")?.text()?;
    }
    match item.optional("encrypted_content") {
        Some(content) => content.text().map(drop),
        None => Ok(()),
    }
}
