//! The fields of a request: their types, their accepted values, and the ones without effect.
//! OpenAI API reference, "Create a model response".

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;

use super::input::InputItem;
use super::tools::ResponseTool;
use crate::openai::request::body::AnyObject;
use crate::openai::request::fields::UnsupportedField;
use crate::openai::request::sampling::Sampling;
use crate::openai::request::string_or_list::StringOrList;
use crate::openai::request::{body, fields};
use crate::openai::responses::echo::{TextFormat, ToolChoiceEcho};
use crate::openai::{ApiError, IgnoredFields};

/// The fields that OpenAI documents. `null` counts as absent for each.
#[derive(Deserialize)]
pub(in crate::openai::responses) struct ResponseRequestBody {
    pub(super) model: Option<String>,
    pub(super) input: Option<StringOrList<InputItem>>,
    pub(super) instructions: Option<String>,
    pub(super) stream: Option<bool>,
    pub(super) store: Option<bool>,
    pub(super) background: Option<bool>,
    pub(super) previous_response_id: Option<String>,
    pub(super) include: Option<Vec<String>>,
    #[serde(default, deserialize_with = "body::objects")]
    pub(super) tools: Option<Vec<ResponseTool>>,
    pub(super) tool_choice: Option<ToolChoiceEcho>,
    pub(super) parallel_tool_calls: Option<bool>,
    pub(super) max_tool_calls: Option<u64>,
    #[serde(default, deserialize_with = "body::object")]
    pub(super) text: Option<TextOptions>,
    #[serde(default, deserialize_with = "body::object")]
    pub(super) reasoning: Option<ReasoningOptions>,
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
    prompt_cache_retention: Option<String>,
    stream_options: Option<AnyObject>,
    pub(super) prompt: Option<IgnoredAny>,
    pub(super) conversation: Option<IgnoredAny>,
    /// Sent by Codex as a client, and by no other known client.
    pub(super) client_metadata: Option<AnyObject>,
    // Fields of the other two routes.
    messages: Option<IgnoredAny>,
    max_tokens: Option<IgnoredAny>,
    max_completion_tokens: Option<IgnoredAny>,
    stop: Option<IgnoredAny>,
    response_format: Option<IgnoredAny>,
    functions: Option<IgnoredAny>,
    function_call: Option<IgnoredAny>,
    reasoning_effort: Option<IgnoredAny>,
    verbosity: Option<IgnoredAny>,
    n: Option<u64>,
    logprobs: Option<bool>,
    modalities: Option<Vec<String>>,
    audio: Option<IgnoredAny>,
    web_search_options: Option<IgnoredAny>,
}

#[derive(Deserialize)]
pub(in crate::openai::responses) struct TextOptions {
    #[serde(default, deserialize_with = "body::object")]
    pub(super) format: Option<TextFormat>,
    pub(super) verbosity: Option<String>,
}

#[derive(Deserialize)]
pub(in crate::openai::responses) struct ReasoningOptions {
    pub(super) effort: Option<String>,
    pub(super) summary: Option<String>,
    pub(super) generate_summary: Option<String>,
}

impl ResponseRequestBody {
    /// Parses and checks a body.
    ///
    /// # Errors
    /// 400 when the body is not JSON, a field is invalid, or Codex cannot honour a field; `param` is the path of the
    /// field.
    pub(super) fn parse(json: &[u8], ignored: &mut IgnoredFields) -> Result<Self, ApiError> {
        // Unsupported fields first: their message says what to use instead, which a range error would hide.
        let body: Self = body::read(json, ignored)?;
        reject_foreign(&body)?;
        reject_unsupported(&body)?;
        check_ranges(&body, ignored)?;
        add_unused(&body, ignored);
        Ok(body)
    }
}

fn reject_foreign(body: &ResponseRequestBody) -> Result<(), ApiError> {
    const MAX_OUTPUT_TOKENS: &str = "use `max_output_tokens`";
    fields::reject_foreign([
        (
            body.messages.is_some(),
            "messages",
            "send `input`, or use /v1/chat/completions",
        ),
        (body.max_tokens.is_some(), "max_tokens", MAX_OUTPUT_TOKENS),
        (
            body.max_completion_tokens.is_some(),
            "max_completion_tokens",
            MAX_OUTPUT_TOKENS,
        ),
        (body.stop.is_some(), "stop", "use /v1/chat/completions"),
        (
            body.response_format.is_some(),
            "response_format",
            "use `text.format`",
        ),
        (body.functions.is_some(), "functions", "use `tools`"),
        (
            body.function_call.is_some(),
            "function_call",
            "use `tool_choice`",
        ),
        (
            body.reasoning_effort.is_some(),
            "reasoning_effort",
            "use `reasoning.effort`",
        ),
        (
            body.verbosity.is_some(),
            "verbosity",
            "use `text.verbosity`",
        ),
    ])
}

fn reject_unsupported(body: &ResponseRequestBody) -> Result<(), ApiError> {
    let wants_audio = body.modalities.iter().flatten().any(|kind| kind != "text");
    let wants_log_probabilities = body.top_logprobs.is_some_and(|top| top != 0);
    fields::reject_unsupported([
        UnsupportedField::new(
            body.prompt.is_some(),
            "prompt",
            "Stored prompts are not supported; send `instructions` and `input`.",
        ),
        UnsupportedField::new(
            body.conversation.is_some(),
            "conversation",
            "Conversation objects are not supported; use `previous_response_id`.",
        ),
        UnsupportedField::log_probabilities(wants_log_probabilities, "top_logprobs"),
        UnsupportedField::log_probabilities(body.logprobs == Some(true), "logprobs"),
        UnsupportedField::choices(body.n),
        UnsupportedField::new(
            wants_audio,
            "modalities",
            "`modalities` must be [\"text\"].",
        ),
        UnsupportedField::new(
            body.audio.is_some(),
            "audio",
            "Audio is not supported; send text and images.",
        ),
        UnsupportedField::new(
            body.web_search_options.is_some(),
            "web_search_options",
            "Web search is not supported; offer a search tool in `tools`.",
        ),
    ])
}

fn check_ranges(body: &ResponseRequestBody, ignored: &mut IgnoredFields) -> Result<(), ApiError> {
    let sampling = Sampling {
        temperature: body.temperature,
        top_p: body.top_p,
        presence_penalty: body.presence_penalty,
        frequency_penalty: body.frequency_penalty,
    };
    sampling.check(ignored)?;
    check_value(
        "truncation",
        body.truncation.as_deref(),
        &["auto", "disabled"],
    )?;
    fields::check_metadata(body.metadata.as_ref())
}

fn check_value(param: &str, value: Option<&str>, accepted: &[&str]) -> Result<(), ApiError> {
    match value {
        Some(value) if !accepted.contains(&value) => {
            let text = format!(
                "`{param}` must be one of {}, not {value:?}.",
                accepted.join(", ")
            );
            Err(ApiError::invalid(text).at(param))
        }
        Some(_) | None => Ok(()),
    }
}

/// Adds the fields that Codex has no counterpart for. Some of them are echoed in the response nevertheless.
fn add_unused(body: &ResponseRequestBody, ignored: &mut IgnoredFields) {
    for (name, present) in [
        ("max_tool_calls", body.max_tool_calls.is_some()),
        // The default, `disabled`, is what Codex does: an overlong conversation is rejected.
        ("truncation", body.truncation.as_deref() == Some("auto")),
        ("user", body.user.is_some()),
        ("safety_identifier", body.safety_identifier.is_some()),
        ("prompt_cache_key", body.prompt_cache_key.is_some()),
        (
            "prompt_cache_retention",
            body.prompt_cache_retention.is_some(),
        ),
        ("stream_options", body.stream_options.is_some()),
        ("client_metadata", body.client_metadata.is_some()),
    ] {
        ignored.add_if(name, present);
    }
}
