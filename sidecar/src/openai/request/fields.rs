//! Fields that several dialects share: what they may hold, and what they mean.
//! OpenAI API reference; the words for efforts and summaries are those that Codex takes too.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::tools::is_name;
use crate::openai::response::error::ApiError;
use crate::turn::{Content, Effort, Item, Message, Role, Summary};

/// Stop sequences in one request.
const MAX_STOPS: usize = 4;

/// Levels of a schema. Codex's parser goes 128 deep, a few of which our message takes.
const MAX_SCHEMA_DEPTH: usize = 100;

/// Pairs of `metadata`, and the characters of their keys and values.
const MAX_METADATA: (usize, usize, usize) = (16, 64, 512);

/// Where the text shall end: one sequence or several.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a string or an array of strings")]
pub(in crate::openai) enum Stop {
    One(String),
    Several(Vec<String>),
}

/// The stop sequences of a request.
///
/// # Errors
/// There are too many, or one is empty and would end every text before it begins.
pub(in crate::openai) fn stop(stop: Option<Stop>) -> Result<Vec<String>, ApiError> {
    let sequences = match stop {
        None => Vec::new(),
        Some(Stop::One(sequence)) => vec![sequence],
        Some(Stop::Several(sequences)) => sequences,
    };
    if sequences.len() > MAX_STOPS {
        return Err(
            ApiError::invalid(format!("At most {MAX_STOPS} sequences can stop a text.")).at("stop"),
        );
    }
    if sequences.iter().any(String::is_empty) {
        return Err(ApiError::invalid("An empty sequence cannot stop a text.").at("stop"));
    }
    Ok(sequences)
}

/// What a client wants of a stream.
#[derive(Debug, Deserialize)]
pub(in crate::openai) struct StreamOptions {
    include_usage: Option<bool>,
}

/// Whether a stream shall tell its usage; some clients ask for it at the top.
pub(in crate::openai) fn include_usage(
    options: Option<&StreamOptions>,
    at_top: Option<bool>,
) -> Option<bool> {
    options.and_then(|options| options.include_usage).or(at_top)
}

/// The largest number of tokens.
///
/// # Errors
/// It is zero: there would be no answer.
pub(in crate::openai) fn max_tokens(
    param: &str,
    max: Option<u64>,
) -> Result<Option<u64>, ApiError> {
    if max == Some(0) {
        return Err(ApiError::invalid("At least one token has to be allowed.").at(param));
    }
    Ok(max)
}

/// Checks a number that has to be within `range`.
///
/// # Errors
/// It is not.
pub(in crate::openai) fn check_range<T: PartialOrd + fmt::Display>(
    param: &str,
    value: Option<T>,
    range: RangeInclusive<T>,
) -> Result<(), ApiError> {
    match value {
        Some(value) if !range.contains(&value) => {
            let text = format!(
                "{value} is not between {} and {}.",
                range.start(),
                range.end()
            );
            Err(ApiError::invalid(text).at(param))
        }
        Some(_) | None => Ok(()),
    }
}

/// Refuses the first of these that is there: what the OpenAI API knows and Codex cannot do is not forgotten. Each has
/// whether it is there, its name, and what to do instead.
///
/// # Errors
/// One of them is there.
pub(in crate::openai) fn refuse<const N: usize>(
    unsupported: [(bool, &'static str, &'static str); N],
) -> Result<(), ApiError> {
    match unsupported.into_iter().find(|(present, ..)| *present) {
        Some((_, param, text)) => Err(ApiError::unsupported(param, text)),
        None => Ok(()),
    }
}

/// Checks what a client wants to keep with the answer.
///
/// # Errors
/// It is larger than OpenAI allows.
pub(in crate::openai) fn check_metadata(
    metadata: Option<&BTreeMap<String, String>>,
) -> Result<(), ApiError> {
    let (pairs, key, value) = MAX_METADATA;
    let is_large = |(name, text): (&String, &String)| {
        name.chars().count() > key || text.chars().count() > value
    };
    if metadata.is_some_and(|all| all.len() > pairs || all.iter().any(is_large)) {
        let text =
            format!("At most {pairs} pairs, keys of {key} and values of {value} characters.");
        return Err(ApiError::invalid(text).at("metadata"));
    }
    Ok(())
}

/// Checks an output schema and its name, which Codex replaces by one of its own; `param` is where both are.
///
/// # Errors
/// They are none that OpenAI takes.
pub(in crate::openai) fn check_schema(
    name: &str,
    schema: &RawValue,
    param: &str,
) -> Result<(), ApiError> {
    if !is_name(name) {
        let text =
            format!("{name:?} is no name for a schema; use 1 to 64 of a-z, A-Z, 0-9, _ and -.");
        return Err(ApiError::invalid(text).at(format!("{param}.name")));
    }
    if !is_object(schema) {
        let text = "A schema is a JSON object, at most 100 levels deep: {\"type\": \"object\", \"properties\": …}.";
        return Err(ApiError::invalid(text).at(format!("{param}.schema")));
    }
    Ok(())
}

/// Whether a value is a JSON object that Codex can read: it refuses what is nested deeper than its parser goes, and
/// characters that are none; it would then drop our whole message without a word.
pub(in crate::openai) fn is_object(value: &RawValue) -> bool {
    let read: Result<Value, _> = serde_json::from_str(value.get());
    read.is_ok_and(|value| value.is_object() && depth(&value) <= MAX_SCHEMA_DEPTH)
}

fn depth(value: &Value) -> usize {
    let deepest = match value {
        Value::Array(items) => items.iter().map(depth).max(),
        Value::Object(fields) => fields.values().map(depth).max(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => return 0,
    };
    1 + deepest.unwrap_or(0)
}

/// How a model is asked for any JSON object at all: that is no schema that the provider would take as strict, which is
/// how Codex sends each; so the model is told in words.
pub(in crate::openai) fn json_object_instruction() -> Item {
    let text = "Answer with one JSON object and nothing else: no prose, no code fence.";
    Item::Message(Message {
        role: Role::Developer,
        content: vec![Content::Text(text.to_owned())],
    })
}

/// The effort that the first of these fields names, if any does.
///
/// # Errors
/// A word is no effort, be it one that another overrides.
pub(in crate::openai) fn effort<const N: usize>(
    fields: [(&str, Option<&str>); N],
) -> Result<Option<Effort>, ApiError> {
    let named = fields
        .into_iter()
        .filter_map(|(param, word)| Some((param, word?)));
    let efforts = named.map(|(param, word)| {
        let unknown = || {
            let text = format!("{word:?} is no effort; use minimal, low, medium or high.");
            ApiError::unsupported(param, text)
        };
        Effort::parse(word).ok_or_else(unknown)
    });
    let efforts = efforts.collect::<Result<Vec<_>, _>>()?;
    Ok(efforts.first().copied())
}

/// How much of the reasoning the client wants to read.
///
/// # Errors
/// The word is none for it.
pub(in crate::openai) fn summary(param: &str, word: Option<&str>) -> Result<Summary, ApiError> {
    let Some(word) = word else {
        return Ok(Summary::None);
    };
    let unknown = || {
        let text = format!("{word:?} is no summary; use auto, concise, detailed or none.");
        ApiError::unsupported(param, text)
    };
    Summary::parse(word).ok_or_else(unknown)
}
