//! Messages, and the content parts that messages and tool outputs have.
//! OpenAI API reference, "Create a model response", `input`.

use super::field::Field;
use super::images;
use crate::scripted_model::error::ApiError;

/// Types of content that a client adds to a conversation.
const INPUT_PARTS: &[&str] = &["input_text", "input_image", "input_file", "input_audio"];

/// Checks a message.
pub(super) fn check_message(item: &Field<'_>) -> Result<(), ApiError> {
    let role = item.required("role")?;
    let parts: &[&str] = match role.one_of(&["assistant", "system", "developer", "user"])? {
        "assistant" => &["output_text", "refusal"],
        _ => INPUT_PARTS,
    };
    check_parts(&item.required("content")?, parts)
}

/// Checks the output of a tool.
pub(super) fn check_output(output: &Field<'_>) -> Result<(), ApiError> {
    check_parts(output, INPUT_PARTS)
}

fn check_parts(content: &Field<'_>, supported: &[&str]) -> Result<(), ApiError> {
    if content.value.is_string() {
        return Ok(());
    }
    if !content.value.is_array() {
        return Err(content.wrong_type("one of an array of objects or string"));
    }
    for part in content.elements()? {
        match part.required("type")?.one_of(supported)? {
            "input_text" | "output_text" => part.required("text")?.text().map(drop)?,
            "refusal" => part.required("refusal")?.text().map(drop)?,
            "input_image" => images::check(&part)?,
            _ => {}
        }
    }
    Ok(())
}
