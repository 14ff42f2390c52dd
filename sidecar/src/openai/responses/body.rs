//! The fields of a request for a response: which there are, what they may hold, and which are not honoured.
//! OpenAI API reference, "Create a model response".

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::echo::{ChoiceEcho, Format};
use super::input::RawItem;
use super::tools::RawTool;
use crate::openai::request::sampling::Sampling;
use crate::openai::request::string_or_list::StringOrList;
use crate::openai::request::{body, fields};
use crate::openai::{ApiError, Ignored};

/// The fields that OpenAI documents. `null` is as good as absent, everywhere.
#[derive(Deserialize)]
pub(super) struct Body {
    pub(super) model: Option<String>,
    pub(super) input: Option<StringOrList<RawItem>>,
    pub(super) instructions: Option<String>,
    pub(super) stream: Option<bool>,
    pub(super) store: Option<bool>,
    pub(super) background: Option<bool>,
    pub(super) previous_response_id: Option<String>,
    pub(super) include: Option<Vec<String>>,
    #[serde(default, deserialize_with = "body::objects")]
    pub(super) tools: Option<Vec<RawTool>>,
    pub(super) tool_choice: Option<ChoiceEcho>,
    pub(super) parallel_tool_calls: Option<bool>,
    pub(super) max_tool_calls: Option<u64>,
    #[serde(default, deserialize_with = "body::object")]
    pub(super) text: Option<Text>,
    #[serde(default, deserialize_with = "body::object")]
    pub(super) reasoning: Option<Reasoning>,
    pub(super) max_output_tokens: Option<u64>,
    pub(super) metadata: Option<BTreeMap<String, String>>,
    pub(super) truncation: Option<String>,
    pub(super) temperature: Option<f64>,
    pub(super) top_p: Option<f64>,
    pub(super) presence_penalty: Option<f64>,
    pub(super) frequency_penalty: Option<f64>,
    pub(super) top_logprobs: Option<u64>,
    pub(super) service_tier: Option<String>,
    pub(super) user: Option<String>,
    pub(super) safety_identifier: Option<String>,
    pub(super) prompt_cache_key: Option<String>,
    pub(super) prompt: Option<IgnoredAny>,
    pub(super) conversation: Option<IgnoredAny>,
    /// Codex itself sends it, and nobody else does.
    pub(super) client_metadata: Option<IgnoredAny>,
}

#[derive(Deserialize)]
pub(super) struct Text {
    #[serde(default, deserialize_with = "body::object")]
    pub(super) format: Option<Format>,
    pub(super) verbosity: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct Reasoning {
    pub(super) effort: Option<String>,
    pub(super) summary: Option<String>,
    pub(super) generate_summary: Option<String>,
}

impl Body {
    /// Reads and checks a body.
    ///
    /// # Errors
    /// It is not JSON, a field is wrong, or asks for what Codex cannot do; `param` points at the place.
    pub(super) fn read(json: &[u8], ignored: &mut Ignored) -> Result<Self, ApiError> {
        let body: Self = body::read(json, ignored)?;
        refuse_unsupported(&body)?;
        check_ranges(&body, ignored)?;
        note_unused(&body, ignored);
        Ok(body)
    }
}

fn refuse_unsupported(body: &Body) -> Result<(), ApiError> {
    fields::refuse([
        (
            body.prompt.is_some(),
            "prompt",
            "There are no stored prompts here; send instructions and input.",
        ),
        (
            body.conversation.is_some(),
            "conversation",
            "There are no conversation objects here; use previous_response_id.",
        ),
        (
            body.top_logprobs.is_some_and(|top| top != 0),
            "top_logprobs",
            "Codex reports no log probabilities.",
        ),
    ])
}

fn check_ranges(body: &Body, ignored: &mut Ignored) -> Result<(), ApiError> {
    let sampling = Sampling {
        temperature: body.temperature,
        top_p: body.top_p,
        presence_penalty: body.presence_penalty,
        frequency_penalty: body.frequency_penalty,
    };
    sampling.check(ignored)?;
    check_word(
        "truncation",
        body.truncation.as_deref(),
        &["auto", "disabled"],
    )?;
    let verbosity = body
        .text
        .as_ref()
        .and_then(|text| text.verbosity.as_deref());
    check_word("text.verbosity", verbosity, &["low", "medium", "high"])?;
    fields::check_metadata(body.metadata.as_ref())
}

fn check_word(param: &str, word: Option<&str>, known: &[&str]) -> Result<(), ApiError> {
    match word {
        Some(word) if !known.contains(&word) => {
            let text = format!("{word:?} is none of {}.", known.join(", "));
            Err(ApiError::invalid(text).at(param))
        }
        Some(_) | None => Ok(()),
    }
}

/// Codex has no field for these; some of them are echoed all the same.
fn note_unused(body: &Body, ignored: &mut Ignored) {
    let tier = body.service_tier.as_deref();
    let verbosity = body.text.as_ref().and_then(|text| text.verbosity.as_ref());
    for (name, present) in [
        ("max_tool_calls", body.max_tool_calls.is_some()),
        ("truncation", body.truncation.as_deref() == Some("auto")),
        ("text.verbosity", verbosity.is_some()),
        (
            "service_tier",
            tier.is_some_and(|tier| !matches!(tier, "auto" | "default")),
        ),
        ("user", body.user.is_some()),
        ("safety_identifier", body.safety_identifier.is_some()),
        ("prompt_cache_key", body.prompt_cache_key.is_some()),
        ("client_metadata", body.client_metadata.is_some()),
    ] {
        ignored.note(name, present);
    }
}
