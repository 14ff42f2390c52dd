//! Reading a configuration value by value, so that a wrong one is named by its place, its kind and what was expected.
//! JSON as RFC 8259 has it. No message repeats a value: it might be a key.

use std::fmt;
use std::ops::RangeInclusive;

use serde_json::{Map, Value};

/// Why a configuration is refused, in words for the log.
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

/// A value and where it stands, such as `keys[0].models`.
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

    /// An object that nobody wrote.
    pub(super) fn empty_object() -> Self {
        Self::new("", Value::Object(Map::new()))
    }

    /// Says what was expected instead of this value.
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

    /// The hosts that re-encode a configuration may write `60` as `60.0`.
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

    /// A string that means something.
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

/// An object whose fields are taken one by one; what is left at the end is unknown, and an error.
#[derive(Debug)]
pub(super) struct Object {
    place: String,
    fields: Map<String, Value>,
}

impl Object {
    /// The field, if it is there and not null.
    pub(super) fn take(&mut self, name: &str) -> Option<Field> {
        let value = self.fields.remove(name).filter(|value| !value.is_null())?;
        Some(Field::new(self.place_of(name), value))
    }

    /// A boolean, or what it is when nothing is written.
    pub(super) fn boolean(&mut self, name: &str, default: bool) -> Result<bool, ConfigError> {
        self.take(name).map_or(Ok(default), |field| field.boolean())
    }

    /// A whole number within bounds, or what it is when nothing is written.
    pub(super) fn number(
        &mut self,
        name: &str,
        default: u64,
        bounds: RangeInclusive<u64>,
    ) -> Result<u64, ConfigError> {
        self.take(name)
            .map_or(Ok(default), |field| field.number(bounds))
    }

    /// The field.
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

    /// Refuses what nobody has taken, by name. A key that was pasted in its place is not repeated: it has something
    /// else than letters in it, which no field of ours has but `sha256`.
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
