//! The format of the output: text, or JSON that follows a schema.
//! OpenAI API reference, "Create a model response", `text.format`.

use super::field::Field;
use super::schema::{self, Strictness};
use crate::scripted_model::error::ApiError;

/// Checks `text.format`.
pub(super) fn check(format: &Field<'_>) -> Result<(), ApiError> {
    let kind = format.required("type")?;
    if kind.one_of(&["text", "json_object", "json_schema"])? != "json_schema" {
        return Ok(());
    }
    let name = format.required("name")?.name()?;
    let schema = format.required("schema")?;
    schema.object()?;
    schema::check(schema.value, Strictness::of(format)?).map_err(|reason| {
        let text = format!("Invalid schema for response_format '{name}': {reason}");
        schema.invalid("invalid_json_schema", text)
    })
}
