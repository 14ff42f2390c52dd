//! `output_config.format`: the JSON schema of the output.
//! Anthropic API reference, "Structured outputs".

use serde_json::value::RawValue;

use super::body::OutputFormat;
use crate::openai::request::schema::SchemaFormat;
use crate::openai::{ApiError, IgnoredFields};
use crate::turn::Item;

/// Returns the schema for Codex, or adds an instruction to the conversation; `param` is the path of the format.
///
/// # Errors
/// 400 for another type, and for a schema that is not one.
pub(super) fn schema(
    format: &OutputFormat,
    param: &str,
    conversation: &mut Vec<Item>,
    ignored: &mut IgnoredFields,
) -> Result<Option<Box<RawValue>>, ApiError> {
    if format.kind != "json_schema" {
        let text = format!(
            "Unsupported output format {:?}. Use json_schema.",
            format.kind
        );
        return Err(ApiError::unsupported(format!("{param}.type"), text));
    }
    let schema = format.schema.as_ref().ok_or_else(|| {
        ApiError::invalid("Missing `schema` of the output format.").at(format!("{param}.schema"))
    })?;
    let format = SchemaFormat {
        name: None,
        description: None,
        schema,
        strict: None,
        param,
    };
    format.apply(conversation, ignored)
}
