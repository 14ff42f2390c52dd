//! A field of a request with its path, and the checks that fields of any kind have in common.
//! The errors are those of the OpenAI API: `missing_required_parameter`, `invalid_type`, `invalid_value` and the like.

use serde_json::Value;

use crate::scripted_model::error::ApiError;

/// Characters of a name and of a call id.
const MAX_ID_CHARS: usize = 64;

/// A field of a request with its path, such as `input[0].call_id`.
#[derive(Clone, Debug)]
pub(super) struct Field<'a> {
    pub(super) value: &'a Value,
    pub(super) path: String,
}

impl<'a> Field<'a> {
    /// The body of the request, whose path is empty.
    pub(super) fn body(value: &'a Value) -> Self {
        let path = String::new();
        Self { value, path }
    }

    /// The field `name` of this object, unless it is absent or null.
    pub(super) fn optional(&self, name: &str) -> Option<Self> {
        let value = self.value.get(name).filter(|value| !value.is_null())?;
        let path = self.path_of(name);
        Some(Self { value, path })
    }

    /// The field `name` of this object.
    ///
    /// # Errors
    /// When the field is absent or null.
    pub(super) fn required(&self, name: &str) -> Result<Self, ApiError> {
        self.optional(name).ok_or_else(|| {
            let path = self.path_of(name);
            let text = format!("Missing required parameter: '{path}'.");
            ApiError::invalid(text)
                .code("missing_required_parameter")
                .at(path)
        })
    }

    /// The text of this field.
    ///
    /// # Errors
    /// When the field has another type.
    pub(super) fn text(&self) -> Result<&'a str, ApiError> {
        let text = self.value.as_str();
        text.ok_or_else(|| self.wrong_type("a string"))
    }

    /// The elements of this field.
    ///
    /// # Errors
    /// When the field has another type.
    pub(super) fn elements(&self) -> Result<impl Iterator<Item = Self>, ApiError> {
        let Some(elements) = self.value.as_array() else {
            return Err(self.wrong_type("an array"));
        };
        let path = self.path.clone();
        Ok(elements.iter().enumerate().map(move |(index, value)| Self {
            value,
            path: format!("{path}[{index}]"),
        }))
    }

    /// Checks that this field is an object.
    ///
    /// # Errors
    /// When the field has another type.
    pub(super) fn object(&self) -> Result<(), ApiError> {
        match self.value {
            Value::Object(_) => Ok(()),
            _ => Err(self.wrong_type("an object")),
        }
    }

    /// The text of this field, one of `supported`.
    ///
    /// # Errors
    /// When the field has another type or value.
    pub(super) fn one_of(&self, supported: &[&str]) -> Result<&'a str, ApiError> {
        let text = self.text()?;
        if supported.contains(&text) {
            return Ok(text);
        }
        let message = format!(
            "Invalid value: '{text}'. Supported values are: {}.",
            listed(supported)
        );
        Err(self.invalid("invalid_value", message))
    }

    /// The text of this field, a name of a tool or of a schema.
    ///
    /// # Errors
    /// When the name is empty, too long, or has characters other than letters, digits, `_` and `-`.
    pub(super) fn name(&self) -> Result<&'a str, ApiError> {
        let name = self.id()?;
        let is_allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
        if name.bytes().all(is_allowed) {
            return Ok(name);
        }
        let message = format!(
            "Invalid '{}': string does not match pattern. Expected a string that matches the pattern '^[a-zA-Z0-9_-]+$'.",
            self.path
        );
        Err(self.invalid("invalid_value", message))
    }

    /// The text of this field, the id of a tool call.
    ///
    /// # Errors
    /// When the id is empty or too long.
    pub(super) fn id(&self) -> Result<&'a str, ApiError> {
        let id = self.text()?;
        let path = &self.path;
        match id.chars().count() {
            0 => {
                let message = format!(
                    "Invalid '{path}': empty string. Expected a string with minimum length 1, but got an empty string instead."
                );
                Err(self.invalid("empty_string", message))
            }
            1..=MAX_ID_CHARS => Ok(id),
            length => {
                let message = format!(
                    "Invalid '{path}': string too long. Expected a string with maximum length {MAX_ID_CHARS}, but got a string with length {length} instead."
                );
                Err(self.invalid("string_above_max_length", message))
            }
        }
    }

    /// The error for a value of another type than `expected`.
    pub(super) fn wrong_type(&self, expected: &str) -> ApiError {
        let got = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        let message = format!(
            "Invalid type for '{}': expected {expected}, but got {got} instead.",
            self.path
        );
        self.invalid("invalid_type", message)
    }

    /// An error at this field.
    pub(super) fn invalid(&self, code: &'static str, message: impl Into<String>) -> ApiError {
        ApiError::invalid(message).code(code).at(self.path.as_str())
    }

    fn path_of(&self, name: &str) -> String {
        if self.path.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.path)
        }
    }
}

/// Values as the API lists them: `'a', 'b', and 'c'`.
pub(super) fn listed<T: AsRef<str>>(values: &[T]) -> String {
    let quoted: Vec<String> = values
        .iter()
        .map(|value| format!("'{}'", value.as_ref()))
        .collect();
    match quoted.as_slice() {
        [] => String::new(),
        [one] => one.clone(),
        [one, other] => format!("{one} and {other}"),
        [first @ .., last] => format!("{}, and {last}", first.join(", ")),
    }
}
