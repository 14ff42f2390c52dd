//! Fields that several request formats share: their accepted values and their meaning.
//! OpenAI API reference; the values for summaries are those that Codex accepts too.

use std::collections::BTreeMap;
use std::fmt;
use std::ops::RangeInclusive;

use serde::Deserialize;

use crate::openai::response::error::ApiError;
use crate::turn::{Content, Item, Message, Role, Summary};

/// Stop sequences in one request.
const MAX_STOP_SEQUENCES: usize = 4;

/// Pairs of `metadata`, and the characters of their keys and values.
const MAX_METADATA: (usize, usize, usize) = (16, 64, 512);

/// Rejection of fields that ask for log probabilities.
const NO_LOG_PROBABILITIES: &str = "Codex reports no log probabilities.";

/// The `stop` field: one sequence or several.
#[derive(Debug, Deserialize)]
#[serde(untagged, expecting = "expected a string or an array of strings")]
pub(crate) enum StopField {
    One(String),
    Several(Vec<String>),
}

/// Returns the stop sequences of a request.
///
/// # Errors
/// 400 when there are too many, or one is empty and would end every text before its first character.
pub(crate) fn stop_sequences(stop: Option<StopField>) -> Result<Vec<String>, ApiError> {
    let sequences = match stop {
        None => Vec::new(),
        Some(StopField::One(sequence)) => vec![sequence],
        Some(StopField::Several(sequences)) => sequences,
    };
    if sequences.len() > MAX_STOP_SEQUENCES {
        let text = format!("`stop` accepts at most {MAX_STOP_SEQUENCES} sequences.");
        return Err(ApiError::invalid(text).at("stop"));
    }
    if sequences.iter().any(String::is_empty) {
        return Err(ApiError::invalid("`stop` sequences must not be empty.").at("stop"));
    }
    Ok(sequences)
}

/// The `stream_options` field.
#[derive(Debug, Deserialize)]
pub(crate) struct StreamOptions {
    include_usage: Option<bool>,
}

/// Whether a stream shall end with a usage chunk; some clients send `include_usage` at the top level.
pub(crate) fn include_usage(options: Option<&StreamOptions>, at_top: Option<bool>) -> Option<bool> {
    options.and_then(|options| options.include_usage).or(at_top)
}

/// Returns the token limit in `param`.
///
/// # Errors
/// 400 when the limit is zero, which would leave no room for any text.
pub(crate) fn max_tokens(param: &str, max: Option<u64>) -> Result<Option<u64>, ApiError> {
    if max == Some(0) {
        let text = format!("`{param}` must be at least 1.");
        return Err(ApiError::invalid(text).at(param));
    }
    Ok(max)
}

/// Checks that a number is within `range`.
///
/// # Errors
/// 400 when the number is out of range.
pub(crate) fn check_range<T: PartialOrd + fmt::Display>(
    param: &str,
    value: Option<T>,
    range: RangeInclusive<T>,
) -> Result<(), ApiError> {
    match value {
        Some(value) if !range.contains(&value) => {
            let text = format!(
                "`{param}` must be between {} and {}, not {value}.",
                range.start(),
                range.end()
            );
            Err(ApiError::invalid(text).at(param))
        }
        Some(_) | None => Ok(()),
    }
}

/// A field that the OpenAI API has and Codex cannot honour.
pub(crate) struct UnsupportedField {
    is_present: bool,
    param: &'static str,
    message: &'static str,
}

impl UnsupportedField {
    /// Rejects `param` if `is_present`; `message` says how to do without the field.
    pub(crate) fn new(is_present: bool, param: &'static str, message: &'static str) -> Self {
        Self {
            is_present,
            param,
            message,
        }
    }

    /// More than one choice: `n`.
    pub(crate) fn choices(n: Option<u64>) -> Self {
        let message = "`n` must be 1; send several requests.";
        Self::new(n.is_some_and(|n| n != 1), "n", message)
    }

    /// Log probabilities, asked for by `param`.
    pub(crate) fn log_probabilities(is_present: bool, param: &'static str) -> Self {
        Self::new(is_present, param, NO_LOG_PROBABILITIES)
    }
}

/// Rejects a request with a field of another route: `(is_present, name, advice)`. Ignoring such a field would change the
/// result silently, as with [`reject_unsupported`].
///
/// # Errors
/// 400 `unsupported_parameter` for the first field that is present.
pub(crate) fn reject_foreign<const N: usize>(
    fields: [(bool, &'static str, &'static str); N],
) -> Result<(), ApiError> {
    match fields.into_iter().find(|(is_present, ..)| *is_present) {
        Some((_, name, advice)) => {
            let text = format!("Unsupported parameter `{name}` on this route: {advice}.");
            Err(ApiError::unsupported_parameter(name, text))
        }
        None => Ok(()),
    }
}

/// Rejects a request that has one of these fields. Ignoring such a field would change the result silently.
///
/// # Errors
/// 400 `unsupported_value` for the first field that is present.
pub(crate) fn reject_unsupported<const N: usize>(
    fields: [UnsupportedField; N],
) -> Result<(), ApiError> {
    match fields.into_iter().find(|field| field.is_present) {
        Some(field) => Err(ApiError::unsupported(field.param, field.message)),
        None => Ok(()),
    }
}

/// Checks the size of `metadata`.
///
/// # Errors
/// 400 when `metadata` is larger than OpenAI allows.
pub(crate) fn check_metadata(metadata: Option<&BTreeMap<String, String>>) -> Result<(), ApiError> {
    let (pairs, key, value) = MAX_METADATA;
    // Characters, not bytes, as OpenAI counts.
    let is_large = |(name, text): (&String, &String)| {
        name.chars().count() > key || text.chars().count() > value
    };
    if metadata.is_some_and(|all| all.len() > pairs || all.iter().any(is_large)) {
        let text = format!(
            "`metadata` accepts at most {pairs} pairs, with keys of {key} and values of {value} characters."
        );
        return Err(ApiError::invalid(text).at("metadata"));
    }
    Ok(())
}

/// The instruction that stands for the format `json_object`.
///
/// Codex sends every schema to the provider as strict, and "any JSON object" has no strict schema, so the model is
/// asked in words.
pub(crate) fn json_object_instruction() -> Item {
    developer_instruction("Answer with one JSON object and nothing else: no prose, no code fence.")
}

/// Returns a developer message.
pub(crate) fn developer_instruction(text: &str) -> Item {
    Item::Message(Message {
        phase: None,
        role: Role::Developer,
        content: vec![Content::Text(text.to_owned())],
    })
}

/// Returns the amount of reasoning summary that `param` asks for.
///
/// # Errors
/// 400 when `value` is not an amount that OpenAI documents.
pub(crate) fn summary(param: &str, value: Option<&str>) -> Result<Summary, ApiError> {
    let Some(value) = value else {
        return Ok(Summary::None);
    };
    let unknown = || {
        let text =
            format!("Invalid reasoning summary {value:?}. Use auto, concise, detailed or none.");
        ApiError::unsupported(param, text)
    };
    Summary::parse(value).ok_or_else(unknown)
}
