//! Checks of names and JSON schemas, which tools and output formats share.
//! OpenAI API reference, "Function calling" and "Structured outputs"; the limits are those that Codex accepts too.

use serde_json::Value;
use serde_json::value::RawValue;

use crate::openai::response::error::ApiError;

/// Characters of the name of a tool or a schema.
pub(super) const MAX_NAME_CHARS: usize = 64;

/// Levels of a schema. The JSON parser of Codex goes 128 deep, a few of which the message around the schema takes.
const MAX_SCHEMA_DEPTH: usize = 100;

/// Whether OpenAI and Codex both accept `name` for a tool or a schema.
pub(super) fn is_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=MAX_NAME_CHARS).contains(&name.len()) && name.bytes().all(is_allowed)
}

/// Whether a value is a JSON object that Codex can parse.
///
/// Codex rejects nesting deeper than its parser goes, and invalid escapes; it then drops the whole message that the
/// value is part of, without an error.
pub(super) fn is_object(value: &RawValue) -> bool {
    let parsed: Result<Value, _> = serde_json::from_str(value.get());
    parsed.is_ok_and(|value| value.is_object() && depth(&value) <= MAX_SCHEMA_DEPTH)
}

fn depth(value: &Value) -> usize {
    let deepest = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(fields) => fields.values().map(depth).max(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return 0,
    };
    1 + deepest.unwrap_or(0)
}

/// Checks an output schema and its name; `param` is the path of the object that holds both.
///
/// # Errors
/// 400 when OpenAI would not accept the name or the schema.
pub(in crate::openai) fn check_schema(
    name: Option<&str>,
    schema: &RawValue,
    param: &str,
) -> Result<(), ApiError> {
    if let Some(name) = name.filter(|name| !is_name(name)) {
        let text = format!(
            "Invalid schema name {name:?}: 1 to {MAX_NAME_CHARS} characters from a-z, A-Z, 0-9, _ and -."
        );
        return Err(ApiError::invalid(text).at(format!("{param}.name")));
    }
    if !is_object(schema) {
        let text = format!(
            "Invalid schema: it must be a JSON object of at most {MAX_SCHEMA_DEPTH} levels, such as {{\"type\": \"object\", \"properties\": …}}."
        );
        return Err(ApiError::invalid(text).at(format!("{param}.schema")));
    }
    Ok(())
}
