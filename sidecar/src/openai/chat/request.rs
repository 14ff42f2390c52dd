//! A chat request: strict where a mistake would be silent, tolerant where clients are sloppy.
//! OpenAI API reference, "Create chat completion".

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::messages::{RawMessage, Recall, conversation};
use super::tools::{RawChoice, RawTool, tools};
use crate::openai::models::ModelAccess;
use crate::openai::request::fields::StreamOptions;
use crate::openai::request::sampling::Sampling;
use crate::openai::request::{body, fields};
use crate::openai::response::options::Reply;
use crate::openai::{ApiError, Delivery, Ignored};
use crate::turn::{Item, Profile, Summary, TruncationRules, TurnRequest};

/// The fields that OpenAI documents. `null` is as good as absent, everywhere.
#[derive(Deserialize)]
pub(super) struct Body {
    model: Option<String>,
    #[serde(default, deserialize_with = "body::objects")]
    messages: Option<Vec<RawMessage>>,
    stream: Option<bool>,
    #[serde(default, deserialize_with = "body::object")]
    stream_options: Option<StreamOptions>,
    include_usage: Option<bool>,
    #[serde(default, deserialize_with = "body::objects")]
    tools: Option<Vec<RawTool>>,
    tool_choice: Option<RawChoice>,
    parallel_tool_calls: Option<bool>,
    #[serde(default, deserialize_with = "body::object")]
    response_format: Option<ResponseFormat>,
    #[serde(default, deserialize_with = "body::object")]
    reasoning: Option<Reasoning>,
    reasoning_effort: Option<String>,
    #[serde(rename = "reasoningEffort")]
    reasoning_effort_camel: Option<String>,
    stop: Option<fields::Stop>,
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
}

#[derive(Deserialize)]
struct Reasoning {
    effort: Option<String>,
    summary: Option<String>,
}

#[derive(Deserialize)]
struct ResponseFormat {
    #[serde(rename = "type")]
    kind: String,
    #[serde(default, deserialize_with = "body::object")]
    json_schema: Option<JsonSchema>,
}

#[derive(Deserialize)]
struct JsonSchema {
    name: String,
    schema: Option<Box<RawValue>>,
}

/// Reads a request body.
///
/// # Errors
/// The body is not JSON, a field is wrong, or asks for what Codex cannot do; `param` points at the place.
pub fn parse(
    body: &[u8],
    models: &ModelAccess<'_>,
    profile: Profile,
    recall: &Recall<'_>,
) -> Result<(TurnRequest, Reply), ApiError> {
    let mut ignored = Ignored::default();
    let mut body: Body = body::read(body, &mut ignored)?;
    refuse_unsupported(&body)?;
    check_ranges(&body, &mut ignored)?;
    note_unused(&body, &mut ignored);
    let (model_id, mut model) = models.resolve(body.model.as_deref())?;
    if let Some(effort) = effort(&body)? {
        model.effort = Some(effort);
    }
    let messages = body.messages.take().unwrap_or_default();
    let mut conversation = conversation(messages, recall, &mut ignored)?;
    let schema = match body.response_format.take() {
        Some(format) => schema(format, &mut conversation)?,
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
    };
    let reply = Reply {
        delivery: delivery(&body),
        ignored,
        cut: cut(body)?,
        model_id,
        prompt_chars: turn.prompt_chars(),
    };
    Ok((turn, reply))
}

fn refuse_unsupported(body: &Body) -> Result<(), ApiError> {
    let speaks = body.modalities.iter().flatten().any(|kind| kind != "text");
    let tools_instead = "Functions are deprecated; send tools and tool_choice.";
    fields::refuse([
        (
            body.n.is_some_and(|n| n != 1),
            "n",
            "Only n = 1 is supported; send several requests.",
        ),
        (body.functions.is_some(), "functions", tools_instead),
        (body.function_call.is_some(), "function_call", tools_instead),
        (
            body.logprobs == Some(true),
            "logprobs",
            "Codex reports no log probabilities.",
        ),
        (
            body.top_logprobs.is_some(),
            "top_logprobs",
            "Codex reports no log probabilities.",
        ),
        (body.audio.is_some(), "audio", "Audio is not supported."),
        (speaks, "modalities", "Only text is supported."),
        (
            body.web_search_options.is_some(),
            "web_search_options",
            "Web search is not supported.",
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
    fields::check_metadata(body.metadata.as_ref())
}

/// Codex has no field for these.
fn note_unused(body: &Body, ignored: &mut Ignored) {
    for (name, present) in [
        ("logit_bias", body.logit_bias.is_some()),
        ("seed", body.seed.is_some()),
        ("user", body.user.is_some()),
        ("metadata", body.metadata.is_some()),
        ("store", body.store == Some(true)),
    ] {
        ignored.note(name, present);
    }
}

fn effort(body: &Body) -> Result<Option<crate::turn::Effort>, ApiError> {
    let nested = body
        .reasoning
        .as_ref()
        .and_then(|reasoning| reasoning.effort.as_deref());
    fields::effort([
        ("reasoning.effort", nested),
        ("reasoning_effort", body.reasoning_effort.as_deref()),
        ("reasoningEffort", body.reasoning_effort_camel.as_deref()),
    ])
}

fn summary(body: &Body) -> Result<Summary, ApiError> {
    let word = body
        .reasoning
        .as_ref()
        .and_then(|reasoning| reasoning.summary.as_deref());
    fields::summary("reasoning.summary", word)
}

/// A schema is Codex's affair.
fn schema(
    format: ResponseFormat,
    conversation: &mut Vec<Item>,
) -> Result<Option<Box<RawValue>>, ApiError> {
    match (format.kind.as_str(), format.json_schema) {
        ("text", _) => Ok(None),
        ("json_object", _) => {
            conversation.push(fields::json_object_instruction());
            Ok(None)
        }
        (
            "json_schema",
            Some(JsonSchema {
                name,
                schema: Some(schema),
            }),
        ) => {
            fields::check_schema(&name, &schema, "response_format.json_schema")?;
            Ok(Some(schema))
        }
        ("json_schema", _) => {
            let text = "This format needs a schema: {\"type\": \"json_schema\", \"json_schema\": {\"name\": …, \"schema\": …}}.";
            Err(ApiError::invalid(text).at("response_format.json_schema"))
        }
        (other, _) => {
            let text = format!("{other:?} is no format; use text, json_object or json_schema.");
            Err(ApiError::invalid(text).at("response_format.type"))
        }
    }
}

/// The newer of the two names wins, as with OpenAI.
fn cut(body: Body) -> Result<TruncationRules, ApiError> {
    let older = fields::max_tokens("max_tokens", body.max_tokens)?;
    let newer = fields::max_tokens("max_completion_tokens", body.max_completion_tokens)?;
    Ok(TruncationRules {
        stop: fields::stop(body.stop)?,
        max_tokens: newer.or(older),
        ..TruncationRules::default()
    })
}

fn delivery(body: &Body) -> Delivery {
    let options = body.stream_options.as_ref();
    Delivery::of(
        body.stream,
        fields::include_usage(options, body.include_usage),
    )
}
