//! A configuration read value by value, so that an error names the place, the kind found and the kind expected.
//!
//! Written by hand because serde's derive, also with serde_path_to_error, prints the offending value in its messages: here
//! the value might be an API key. It also rejects `60.0` for 60, which hosts write that re-encode the configuration.

use std::fmt;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

/// The reason for which a configuration is rejected, for the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError(String);

impl ConfigError {
    /// `place: problem`.
    pub fn new(place: &str, problem: impl fmt::Display) -> Self {
        Self(format!("{place}: {problem}"))
    }
}

impl fmt::Display for ConfigError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.0)
    }
}

impl std::error::Error for ConfigError {}

/// A value and its place, such as `keys[0].models`.
#[derive(Debug)]
pub(super) struct Field {
    place: String,
    value: Value,
}

impl Field {
    pub(super) fn new(place: impl Into<String>, value: Value) -> Self {
        Self {
            place: place.into(),
            value,
        }
    }

    /// An absent object: every field has its default.
    pub(super) fn empty_object() -> Self {
        Self::new("", Value::Object(Map::new()))
    }

    /// The error for a value of the wrong kind.
    pub(super) fn expected(&self, expected: &str) -> ConfigError {
        let kind = match self.value {
            Value::Null => "null",
            Value::Bool(_) => "a boolean",
            Value::Number(_) => "a number",
            Value::String(_) => "a string",
            Value::Array(_) => "an array",
            Value::Object(_) => "an object",
        };
        ConfigError::new(
            &self.place,
            format_args!("expected {expected}, found {kind}"),
        )
    }

    fn boolean(&self) -> Result<bool, ConfigError> {
        self.value
            .as_bool()
            .ok_or_else(|| self.expected("true or false"))
    }

    /// Reads a whole number. Hosts that re-encode a configuration may write `60` as `60.0`.
    fn number(&self, bounds: RangeInclusive<u64>) -> Result<u64, ConfigError> {
        let text = self
            .value
            .as_number()
            .map(ToString::to_string)
            .unwrap_or_default();
        let number = text.strip_suffix(".0").unwrap_or(&text).parse().ok();
        number
            .filter(|number| bounds.contains(number))
            .ok_or_else(|| {
                let (min, max) = bounds.into_inner();
                self.expected(&format!("a whole number from {min} to {max}"))
            })
    }

    pub(super) fn text(&self) -> Result<&str, ConfigError> {
        self.parsed("a string", Some)
    }

    /// Parses a string.
    pub(super) fn parsed<'a, T>(
        &'a self,
        expected: &str,
        parse: impl FnOnce(&'a str) -> Option<T>,
    ) -> Result<T, ConfigError> {
        self.value
            .as_str()
            .and_then(parse)
            .ok_or_else(|| self.expected(expected))
    }

    pub(super) fn items(self) -> Result<Vec<Self>, ConfigError> {
        match self.value {
            Value::Array(values) => {
                let place = |index| format!("{}[{index}]", self.place);
                Ok(values
                    .into_iter()
                    .enumerate()
                    .map(|(index, value)| Self::new(place(index), value))
                    .collect())
            }
            _ => Err(self.expected("an array")),
        }
    }

    pub(super) fn object(self) -> Result<Object, ConfigError> {
        match self.value {
            Value::Object(fields) => Ok(Object {
                place: self.place,
                fields,
            }),
            _ => Err(self.expected("an object")),
        }
    }
}

/// An object that gives up its fields one by one; a field that is left at the end is unknown, and an error.
#[derive(Debug)]
pub(super) struct Object {
    place: String,
    fields: Map<String, Value>,
}

impl Object {
    /// Takes a field, if it is present and not null.
    pub(super) fn take(&mut self, name: &str) -> Option<Field> {
        let value = self.fields.remove(name).filter(|value| !value.is_null())?;
        Some(Field::new(self.place_of(name), value))
    }

    /// Takes a boolean with a default.
    pub(super) fn boolean(&mut self, name: &str, default: bool) -> Result<bool, ConfigError> {
        self.take(name).map_or(Ok(default), |field| field.boolean())
    }

    /// Takes a whole number within bounds, with a default.
    pub(super) fn number(
        &mut self,
        name: &str,
        default: u64,
        bounds: RangeInclusive<u64>,
    ) -> Result<u64, ConfigError> {
        self.take(name)
            .map_or(Ok(default), |field| field.number(bounds))
    }

    /// Takes a field that must be present.
    pub(super) fn require(&mut self, name: &str) -> Result<Field, ConfigError> {
        self.take(name)
            .ok_or_else(|| ConfigError::new(&self.place_of(name), "missing"))
    }

    pub(super) fn place_of(&self, name: &str) -> String {
        if self.place.is_empty() {
            name.to_owned()
        } else {
            format!("{}.{name}", self.place)
        }
    }

    /// Rejects a field that was not taken, by name. A name that may be a misplaced API key is redacted: it contains
    /// other characters than letters, as no field name does but `sha256`.
    pub(super) fn end(self, known: &str) -> Result<(), ConfigError> {
        match self.fields.keys().next() {
            Some(name) => {
                let is_letter = |c: char| c.is_ascii_alphabetic() || c == '_';
                let is_word = name.len() <= 32 && name.chars().all(is_letter);
                let name = if is_word { name } else { "[redacted]" };
                Err(ConfigError::new(
                    &self.place_of(name),
                    format_args!("unknown field; known are {known}"),
                ))
            }
            None => Ok(()),
        }
    }
}
