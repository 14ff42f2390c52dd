//! Checks of names and JSON schemas, which tools and output formats share.
//! OpenAI API reference, "Function calling" and "Structured outputs"; the limits are those that Codex accepts too.

use serde_json::value::RawValue;
use serde_json::{Map, Value};

use super::json_error;
use crate::openai::response::error::ApiError;

/// Characters of the name of a tool or a schema.
pub(super) const MAX_NAME_CHARS: usize = 64;

/// Characters of the id of a tool call; the limit of the Responses API.
const MAX_CALL_ID_CHARS: usize = 64;

/// Levels of a schema. The JSON parser of Codex goes 128 deep, a few of which the message around the schema takes.
const MAX_SCHEMA_DEPTH: usize = 100;

/// Whether OpenAI and Codex both accept `name` for a tool or a schema.
pub(super) fn is_name(name: &str) -> bool {
    let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    (1..=MAX_NAME_CHARS).contains(&name.len()) && name.bytes().all(is_allowed)
}

/// Returns the fields of the value at `param` if it is a JSON object that Codex can parse.
///
/// Codex rejects nesting deeper than its parser goes, and invalid escapes; it then drops the whole message that the
/// value is part of, without an error.
///
/// # Errors
/// 400 when the value has a lone surrogate.
pub(super) fn parse_object(
    value: &RawValue,
    param: &str,
) -> Result<Option<Map<String, Value>>, ApiError> {
    match serde_json::from_str(value.get()) {
        Ok(Value::Object(fields)) if fields.values().map(depth).max() < Some(MAX_SCHEMA_DEPTH) => {
            Ok(Some(fields))
        }
        Ok(_) => Ok(None),
        Err(error) => match json_error::surrogate_in_value(&error, param) {
            Some(error) => Err(error),
            None => Ok(None),
        },
    }
}

fn depth(value: &Value) -> usize {
    let deepest = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(fields) => fields.values().map(depth).max(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return 0,
    };
    1 + deepest.unwrap_or(0)
}

/// Checks the name of a tool, defined or called.
///
/// # Errors
/// 400 when OpenAI would not accept the name.
pub(crate) fn check_tool_name(name: &str, param: &str) -> Result<(), ApiError> {
    if is_name(name) {
        return Ok(());
    }
    let text = format!(
        "Invalid tool name {name:?}: 1 to {MAX_NAME_CHARS} characters from a-z, A-Z, 0-9, _ and -."
    );
    Err(ApiError::invalid(text).at(param))
}

/// Checks the id of a tool call. Without the check the provider's error would name a place in Codex's request.
///
/// # Errors
/// 400 when OpenAI would not accept the id.
pub(crate) fn check_call_id(id: &str, param: &str) -> Result<(), ApiError> {
    let length = id.chars().count();
    if (1..=MAX_CALL_ID_CHARS).contains(&length) {
        return Ok(());
    }
    let text = format!(
        "Invalid tool call id: it has {length} characters, and 1 to {MAX_CALL_ID_CHARS} are accepted."
    );
    Err(ApiError::invalid(text).at(param))
}

/// Checks an output schema and its name; `param` is the path of the object that holds both.
///
/// # Errors
/// 400 when OpenAI would not accept the name or the schema.
pub(crate) fn check_schema(
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
    if parse_object(schema, &format!("{param}.schema"))?.is_none() {
        let text = format!(
            "Invalid schema: it must be a JSON object of at most {MAX_SCHEMA_DEPTH} levels, such as {{\"type\": \"object\", \"properties\": …}}."
        );
        return Err(ApiError::invalid(text).at(format!("{param}.schema")));
    }
    Ok(())
}
