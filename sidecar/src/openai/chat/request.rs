//! Parses a chat request: strict where a mistake would go unnoticed, tolerant of known deviations of clients.
//! OpenAI API reference, "Create chat completion".

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::earlier_reasoning::ClientReasoning;
use super::messages::{ChatMessage, conversation};
use super::tools::{ChatTool, ChatToolChoice, tools};
use crate::openai::models::ModelAccess;
use crate::openai::request::body::AnyObject;
use crate::openai::request::fields::{StopField, StreamOptions, UnsupportedField};
use crate::openai::request::model::RequestedModel;
use crate::openai::request::sampling::Sampling;
use crate::openai::request::schema::SchemaFormat;
use crate::openai::request::{body, fields, model, validate};
use crate::openai::response::options::ResponseOptions;
use crate::openai::{ApiError, Delivery, IgnoredFields};
use crate::turn::{
    ConversationDigest, Item, MemoryHold, Profile, Summary, TruncationRules, TurnRequest,
};

/// The fields that OpenAI documents. `null` counts as absent for each.
#[derive(Deserialize)]
pub(super) struct ChatBody {
    model: Option<String>,
    #[serde(default, deserialize_with = "body::objects")]
    messages: Option<Vec<ChatMessage>>,
    stream: Option<bool>,
    #[serde(default, deserialize_with = "body::object")]
    stream_options: Option<StreamOptions>,
    include_usage: Option<bool>,
    #[serde(default, deserialize_with = "body::objects")]
    tools: Option<Vec<ChatTool>>,
    tool_choice: Option<ChatToolChoice>,
    parallel_tool_calls: Option<bool>,
    #[serde(default, deserialize_with = "body::object")]
    response_format: Option<ResponseFormat>,
    #[serde(default, deserialize_with = "body::object")]
    reasoning: Option<ChatReasoning>,
    reasoning_effort: Option<String>,
    #[serde(rename = "reasoningEffort")]
    reasoning_effort_camel: Option<String>,
    verbosity: Option<String>,
    service_tier: Option<String>,
    stop: Option<StopField>,
    max_tokens: Option<u64>,
    max_completion_tokens: Option<u64>,
    n: Option<u64>,
    logprobs: Option<bool>,
    top_logprobs: Option<u64>,
    functions: Option<IgnoredAny>,
    function_call: Option<IgnoredAny>,
    audio: Option<IgnoredAny>,
    modalities: Option<Vec<String>>,
    web_search_options: Option<IgnoredAny>,
    temperature: Option<f64>,
    top_p: Option<f64>,
    presence_penalty: Option<f64>,
    frequency_penalty: Option<f64>,
    logit_bias: Option<BTreeMap<String, f64>>,
    seed: Option<i64>,
    user: Option<String>,
    metadata: Option<BTreeMap<String, String>>,
    store: Option<bool>,
    prediction: Option<AnyObject>,
    moderation: Option<AnyObject>,
    prompt_cache_key: Option<String>,
    prompt_cache_options: Option<AnyObject>,
    prompt_cache_retention: Option<String>,
    safety_identifier: Option<String>,
    // Fields of /v1/responses.
    input: Option<IgnoredAny>,
    instructions: Option<IgnoredAny>,
    max_output_tokens: Option<IgnoredAny>,
    previous_response_id: Option<IgnoredAny>,
    conversation: Option<IgnoredAny>,
    text: Option<IgnoredAny>,
    prompt: Option<IgnoredAny>,
    background: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct ChatReasoning {
    effort: Option<String>,
    summary: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ResponseFormat {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "body::object")]
    json_schema: Option<JsonSchema>,
    /// Sent with `json_object` by clients of other servers.
    schema: Option<Box<RawValue>>,
}

#[derive(Deserialize)]
pub(super) struct JsonSchema {
    name: String,
    description: Option<String>,
    schema: Option<Box<RawValue>>,
    strict: Option<bool>,
}

/// Parses a request body. `reasoning` has the reasoning items of earlier answers.
///
/// # Errors
/// 400 when the body is not JSON, a field is invalid, or Codex cannot honour a field; 403 or 404 for a model that the
/// client cannot use. `param` is the path of the field.
pub fn parse(
    body: &[u8],
    models: &ModelAccess<'_>,
    profile: Profile,
    reasoning: ClientReasoning<'_>,
) -> Result<(TurnRequest, ResponseOptions), ApiError> {
    let mut ignored = IgnoredFields::default();
    let mut body: ChatBody = body::read(body, &mut ignored)?;
    reject_foreign(&body)?;
    // Unsupported fields first: their message says what to use instead, which a range error would hide.
    reject_unsupported(&body)?;
    check_ranges(&body, &mut ignored)?;
    add_unused(&body, &mut ignored);
    let (model_id, model) = models.resolve(&requested_model(&body)?, &mut ignored)?;
    // Taken out of the body, not cloned: a conversation may have megabytes.
    let messages = body.messages.take().unwrap_or_default();
    let mut conversation = conversation(messages, reasoning, &mut ignored)?;
    let schema = match body.response_format.take() {
        Some(format) => schema(&format, &mut conversation, &mut ignored)?,
        None => None,
    };
    let choice = body.tool_choice.take();
    let offered = body.tools.take().unwrap_or_default();
    let turn = TurnRequest {
        profile,
        model,
        conversation,
        tools: tools(offered, choice, body.parallel_tool_calls, &mut ignored)?,
        schema,
        summary: summary(&body)?,
        memory: MemoryHold::default(),
        hint: None,
        token_cap: None,
        digest: ConversationDigest::default(),
    }
    .with_hint(body.prompt_cache_key.as_deref());
    let options = ResponseOptions {
        delivery: delivery(&body),
        ignored,
        truncation: truncation_rules(body)?,
        context_window: models.context_window(&model_id),
        model_id,
        prompt_chars: turn.prompt_chars(),
    };
    Ok((turn, options))
}

fn reject_foreign(body: &ChatBody) -> Result<(), ApiError> {
    const WHOLE: &str = "send the whole conversation in `messages`, or use /v1/responses";
    fields::reject_foreign([
        (
            body.input.is_some(),
            "input",
            "send `messages`, or use /v1/responses",
        ),
        (
            body.instructions.is_some(),
            "instructions",
            "send a message with the role system",
        ),
        (
            body.max_output_tokens.is_some(),
            "max_output_tokens",
            "use `max_completion_tokens`",
        ),
        (
            body.previous_response_id.is_some(),
            "previous_response_id",
            WHOLE,
        ),
        (body.conversation.is_some(), "conversation", WHOLE),
        (
            body.text.is_some(),
            "text",
            "`text.format` is `response_format` here, and `text.verbosity` is `verbosity`",
        ),
        (body.prompt.is_some(), "prompt", "send `messages`"),
        (
            body.background == Some(true),
            "background",
            "use /v1/responses",
        ),
    ])
}

fn reject_unsupported(body: &ChatBody) -> Result<(), ApiError> {
    let wants_audio = body.modalities.iter().flatten().any(|kind| kind != "text");
    let functions = "Functions are deprecated and not supported; send `tools` and `tool_choice`.";
    let audio = "Audio is not supported; send text and images.";
    fields::reject_unsupported([
        UnsupportedField::choices(body.n),
        UnsupportedField::new(body.functions.is_some(), "functions", functions),
        UnsupportedField::new(body.function_call.is_some(), "function_call", functions),
        UnsupportedField::log_probabilities(body.logprobs == Some(true), "logprobs"),
        UnsupportedField::log_probabilities(body.top_logprobs.is_some(), "top_logprobs"),
        UnsupportedField::new(body.audio.is_some(), "audio", audio),
        UnsupportedField::new(
            wants_audio,
            "modalities",
            "`modalities` must be [\"text\"].",
        ),
        UnsupportedField::new(
            body.web_search_options.is_some(),
            "web_search_options",
            "Web search is not supported; offer a search tool in `tools`.",
        ),
    ])
}

fn check_ranges(body: &ChatBody, ignored: &mut IgnoredFields) -> Result<(), ApiError> {
    let sampling = Sampling {
        temperature: body.temperature,
        top_p: body.top_p,
        presence_penalty: body.presence_penalty,
        frequency_penalty: body.frequency_penalty,
    };
    sampling.check(ignored)?;
    fields::check_metadata(body.metadata.as_ref())
}

/// Adds the fields that Codex has no counterpart for.
fn add_unused(body: &ChatBody, ignored: &mut IgnoredFields) {
    for (name, present) in [
        ("logit_bias", body.logit_bias.is_some()),
        ("seed", body.seed.is_some()),
        ("user", body.user.is_some()),
        ("metadata", body.metadata.is_some()),
        ("store", body.store == Some(true)), // False is what happens.
        ("prediction", body.prediction.is_some()),
        ("moderation", body.moderation.is_some()),
        ("prompt_cache_key", body.prompt_cache_key.is_some()),
        ("prompt_cache_options", body.prompt_cache_options.is_some()),
        (
            "prompt_cache_retention",
            body.prompt_cache_retention.is_some(),
        ),
        ("safety_identifier", body.safety_identifier.is_some()),
    ] {
        ignored.add_if(name, present);
    }
}

fn requested_model(body: &ChatBody) -> Result<RequestedModel<'_>, ApiError> {
    let nested = body
        .reasoning
        .as_ref()
        .and_then(|reasoning| reasoning.effort.as_deref());
    Ok(RequestedModel {
        id: body.model.as_deref(),
        // The nested field of the Responses API wins over the two spellings at the top level.
        efforts: model::efforts([
            ("reasoning.effort", nested),
            ("reasoning_effort", body.reasoning_effort.as_deref()),
            ("reasoningEffort", body.reasoning_effort_camel.as_deref()),
        ])?,
        verbosity: model::verbosity("verbosity", body.verbosity.as_deref())?,
        service_tier: body.service_tier.as_deref(),
    })
}

fn summary(body: &ChatBody) -> Result<Summary, ApiError> {
    let summary = body
        .reasoning
        .as_ref()
        .and_then(|reasoning| reasoning.summary.as_deref());
    fields::summary("reasoning.summary", summary)
}

/// Returns the output schema for Codex, or adds an instruction to the conversation.
fn schema(
    format: &ResponseFormat,
    conversation: &mut Vec<Item>,
    ignored: &mut IgnoredFields,
) -> Result<Option<Box<RawValue>>, ApiError> {
    let missing = || {
        let text = "Missing schema of the response format: {\"type\": \"json_schema\", \"json_schema\": {\"name\": …, \"schema\": …}}.";
        ApiError::invalid(text).at("response_format.json_schema")
    };
    let kind = format.kind.as_str();
    if let Some(schema) = &format.schema {
        validate::check_schema(None, schema, "response_format")?;
        ignored.add_if("response_format.schema", kind != "json_object");
    }
    let is_unused = format.json_schema.is_some() && kind != "json_schema";
    ignored.add_if("response_format.json_schema", is_unused);
    let schema = match (kind, &format.schema) {
        ("text", _) => return Ok(None),
        ("json_object", None) => {
            conversation.push(fields::json_object_instruction());
            return Ok(None);
        }
        ("json_object", Some(schema)) => SchemaFormat {
            name: None,
            description: None,
            schema,
            strict: None,
            param: "response_format",
        },
        ("json_schema", _) => {
            let format = format.json_schema.as_ref().ok_or_else(missing)?;
            SchemaFormat {
                name: Some(&format.name),
                description: format.description.as_deref(),
                schema: format.schema.as_ref().ok_or_else(missing)?,
                strict: format.strict,
                param: "response_format.json_schema",
            }
        }
        (other, _) => {
            let text = format!(
                "Unsupported response format {other:?}. Use text, json_object or json_schema."
            );
            return Err(ApiError::invalid(text).at("response_format.type"));
        }
    };
    schema.apply(conversation, ignored)
}

/// `max_completion_tokens` wins over the older `max_tokens`, as with OpenAI; both are checked.
fn truncation_rules(body: ChatBody) -> Result<TruncationRules, ApiError> {
    let older = fields::max_tokens("max_tokens", body.max_tokens)?;
    let newer = fields::max_tokens("max_completion_tokens", body.max_completion_tokens)?;
    Ok(TruncationRules {
        stop: fields::stop_sequences(body.stop)?,
        max_tokens: newer.or(older),
        ..TruncationRules::default()
    })
}

fn delivery(body: &ChatBody) -> Delivery {
    let options = body.stream_options.as_ref();
    Delivery::of(
        body.stream,
        fields::include_usage(options, body.include_usage),
    )
}
