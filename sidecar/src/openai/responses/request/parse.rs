//! Parses a request: strict where a mistake would go unnoticed, tolerant of known deviations of clients.
//! OpenAI API reference, "Create a model response".

use std::sync::Arc;

use serde_json::value::RawValue;

use super::body::{ResponseRequestBody, TextOptions};
use super::input::{additional_tools, items};
use super::tools::{OtherTools, RequestTools, tools};
use crate::openai::models::ModelAccess;
use crate::openai::request::model::RequestedModel;
use crate::openai::request::schema::SchemaFormat;
use crate::openai::request::{fields, model};
use crate::openai::responses::echo::{
    ReasoningEcho, RequestEcho, TextEcho, TextFormat, ToolChoiceEcho, ToolEcho,
};
use crate::openai::responses::scope::ClientResponses;
use crate::openai::{ApiError, Delivery, IgnoredFields, ResponseOptions};
use crate::store::ConversationNode;
use crate::turn::{
    ConversationDigest, Item, MemoryHold, Profile, Summary, Tools, TruncationRules, TurnRequest,
};

/// The parts of a request that its response needs.
#[derive(Debug)]
pub struct ResponseSpec {
    /// The options that all routes have.
    pub options: ResponseOptions,
    /// Whether the response is stored.
    pub(in crate::openai::responses) store: bool,
    /// Whether the client asked for `reasoning.encrypted_content`.
    pub(in crate::openai::responses) encrypted_reasoning: bool,
    pub(in crate::openai::responses) echo: RequestEcho,
    /// The stored response that the conversation continues.
    pub(in crate::openai::responses) previous: Option<Arc<ConversationNode>>,
    /// The items of the request.
    pub(in crate::openai::responses) input: Vec<Item>,
    /// The memory of `input`.
    pub memory: MemoryHold,
}

/// Parses a request body. `responses` are the stored ones that the request may refer to.
///
/// # Errors
/// 400 when the body is not JSON, a field is invalid, or Codex cannot honour a field; 403 or 404 for a model that the
/// client cannot use. `param` is the path of the field.
pub fn parse(
    body: &[u8],
    models: &ModelAccess<'_>,
    profile: Profile,
    responses: &ClientResponses<'_>,
) -> Result<(TurnRequest, ResponseSpec), ApiError> {
    let mut ignored = IgnoredFields::default();
    let mut body = ResponseRequestBody::parse(body, &mut ignored)?;
    let (model_id, model) = models.resolve(&requested_model(&body)?, &mut ignored)?;
    let summary = summary(&body)?;

    let offered = offered_tools(&mut body, &mut ignored)?;
    // Before the schema, which may append an instruction to the conversation.
    let mut input = resolve_input(&mut body, responses, &mut ignored)?;
    let text = text_echo(body.text.take());
    let schema = schema(&text.format, &mut input.conversation, &mut ignored)?;
    let turn = TurnRequest {
        profile,
        conversation: input.conversation,
        tools: offered.tools,
        schema,
        summary,
        model,
        memory: MemoryHold::default(),
        hint: None,
        token_cap: None,
        digest: ConversationDigest::default(),
    }
    .with_hint(body.prompt_cache_key.as_deref());
    let options = ResponseOptions {
        delivery: delivery(&body)?,
        ignored,
        truncation: truncation_rules(&body)?,
        context_window: models.context_window(&model_id),
        model_id,
        prompt_chars: turn.prompt_chars(),
    };
    let spec = ResponseSpec {
        options,
        store: body.store != Some(false),
        encrypted_reasoning: includes_encrypted_reasoning(body.include.as_deref())?,
        previous: input.previous,
        input: input.items,
        memory: MemoryHold::default(),
        echo: RequestEcho {
            service_tier: turn.model.service_tier.clone().unwrap_or_else(default_tier),
            reasoning: ReasoningEcho::new(turn.model.effort.as_ref(), summary),
            text,
            tool_choice: offered.choice,
            tools: offered.echo,
            ..echo(body)
        },
    };
    Ok((turn, spec))
}

/// The conversation of a turn.
struct ConversationInput {
    /// The stored response that the conversation continues.
    previous: Option<Arc<ConversationNode>>,
    /// The items of this request.
    items: Vec<Item>,
    /// The instructions, the items of `previous`, and `items`.
    conversation: Vec<Item>,
}

fn resolve_input(
    body: &mut ResponseRequestBody,
    responses: &ClientResponses<'_>,
    ignored: &mut IgnoredFields,
) -> Result<ConversationInput, ApiError> {
    let previous = previous_response(body, responses)?;
    let mut earlier_items = previous
        .as_deref()
        .map(ConversationNode::conversation)
        .unwrap_or_default();
    earlier_items.iter_mut().for_each(Item::forget_places);
    let input = body.input.take().ok_or_else(|| {
        ApiError::invalid("`input` is required: a string or an array of items.").at("input")
    })?;
    let items = items(input, &earlier_items, responses, ignored)?;
    // Instructions are not stored with the items: those of an earlier request do not apply to this one.
    let conversation = body
        .instructions
        .as_deref()
        .map(fields::developer_instruction)
        .into_iter()
        .chain(earlier_items)
        .chain(items.iter().cloned())
        .collect();
    Ok(ConversationInput {
        previous,
        items,
        conversation,
    })
}

/// The tools that are offered to the model, and their echo in the response.
struct OfferedTools {
    tools: Tools,
    echo: Vec<ToolEcho>,
    choice: ToolChoiceEcho,
}

fn offered_tools(
    body: &mut ResponseRequestBody,
    ignored: &mut IgnoredFields,
) -> Result<OfferedTools, ApiError> {
    // Codex as a client sends all of its tools, whichever the server supports, and works without the others.
    let others = match body.client_metadata {
        Some(_) => OtherTools::Drop,
        None => OtherTools::Reject,
    };
    let mut listed = RequestTools::default();
    let tools_field = body.tools.take().unwrap_or_default();
    listed.add(tools_field, "tools", others, ignored)?;
    // For some models Codex as a client sends its tools as an item of the input; the response echoes the field alone.
    let mut additional = RequestTools::default();
    for (param, tools) in additional_tools(&mut body.input) {
        additional.add(tools, &param, others, ignored)?;
    }
    listed.definitions.append(&mut additional.definitions);
    let choice = body.tool_choice.take().unwrap_or_else(ToolChoiceEcho::auto);
    Ok(OfferedTools {
        tools: tools(
            listed.definitions,
            &choice,
            body.parallel_tool_calls != Some(false),
        )?,
        echo: listed.echo,
        choice,
    })
}

fn truncation_rules(body: &ResponseRequestBody) -> Result<TruncationRules, ApiError> {
    Ok(TruncationRules {
        max_tokens: fields::max_tokens("max_output_tokens", body.max_output_tokens)?,
        ..TruncationRules::default()
    })
}

fn requested_model(body: &ResponseRequestBody) -> Result<RequestedModel<'_>, ApiError> {
    let reasoning = body.reasoning.as_ref();
    let effort = reasoning.and_then(|reasoning| reasoning.effort.as_deref());
    let text = body.text.as_ref();
    let verbosity = text.and_then(|text| text.verbosity.as_deref());
    Ok(RequestedModel {
        id: body.model.as_deref(),
        efforts: model::efforts([("reasoning.effort", effort)])?,
        verbosity: model::verbosity("text.verbosity", verbosity)?,
        service_tier: body.service_tier.as_deref(),
    })
}

fn summary(body: &ResponseRequestBody) -> Result<Summary, ApiError> {
    let Some(reasoning) = &body.reasoning else {
        return Ok(Summary::None);
    };
    // `generate_summary` is the older name of `summary`.
    let summary = reasoning
        .summary
        .as_deref()
        .or(reasoning.generate_summary.as_deref());
    fields::summary("reasoning.summary", summary)
}

fn previous_response(
    body: &ResponseRequestBody,
    responses: &ClientResponses<'_>,
) -> Result<Option<Arc<ConversationNode>>, ApiError> {
    let Some(id) = body.previous_response_id.as_deref() else {
        return Ok(None);
    };
    let rejected =
        |code, text: String| Err(ApiError::bad_request(code, text).at("previous_response_id"));
    match responses.store.stored(responses.client, id) {
        Some(stored) if stored.continuable => Ok(Some(Arc::clone(&stored.node))),
        Some(_) => rejected(
            "invalid_request_error",
            format!("Response with id '{id}' failed or was cancelled and cannot be continued."),
        ),
        None if responses.store.is_running(responses.client, id) => rejected(
            "invalid_request_error",
            format!("Response with id '{id}' is still in progress."),
        ),
        None => rejected(
            "previous_response_not_found",
            format!(
                "Previous response with id '{id}' not found; send the whole conversation as `input`."
            ),
        ),
    }
}

fn text_echo(text: Option<TextOptions>) -> TextEcho {
    let (format, verbosity) = text.map_or((None, None), |text| (text.format, text.verbosity));
    TextEcho {
        format: format.unwrap_or_else(TextFormat::text),
        verbosity,
    }
}

/// Returns the output schema for Codex, or adds an instruction to the conversation.
fn schema(
    format: &TextFormat,
    conversation: &mut Vec<Item>,
    ignored: &mut IgnoredFields,
) -> Result<Option<Box<RawValue>>, ApiError> {
    let schema = match (format.kind.as_str(), &format.name, &format.schema) {
        ("text", ..) => return Ok(None),
        ("json_object", _, None) => {
            conversation.push(fields::json_object_instruction());
            return Ok(None);
        }
        ("json_object", name, Some(schema)) => (name.as_deref(), schema),
        ("json_schema", Some(name), Some(schema)) => (Some(name.as_str()), schema),
        ("json_schema", ..) => {
            let text = "Missing name or schema of the text format: {\"type\": \"json_schema\", \"name\": …, \"schema\": …}.";
            return Err(ApiError::invalid(text).at("text.format"));
        }
        (other, ..) => {
            let text =
                format!("Unsupported text format {other:?}. Use text, json_object or json_schema.");
            return Err(ApiError::invalid(text).at("text.format.type"));
        }
    };
    let (name, schema) = schema;
    let format = SchemaFormat {
        name,
        description: format.description.as_deref(),
        schema,
        strict: format.strict,
        param: "text.format",
    };
    format.apply(conversation, ignored)
}

fn includes_encrypted_reasoning(include: Option<&[String]>) -> Result<bool, ApiError> {
    const ENCRYPTED: &str = "reasoning.encrypted_content";
    let include = include.unwrap_or_default();
    match include.iter().position(|name| name != ENCRYPTED) {
        Some(index) => {
            let text = format!(
                "Unsupported value {:?} in `include`. Use {ENCRYPTED}.",
                include[index]
            );
            Err(ApiError::unsupported(format!("include[{index}]"), text))
        }
        None => Ok(!include.is_empty()),
    }
}

fn delivery(body: &ResponseRequestBody) -> Result<Delivery, ApiError> {
    match (body.background == Some(true), body.stream == Some(true)) {
        (false, false) => Ok(Delivery::Buffered),
        (false, true) => Ok(Delivery::Stream {
            include_usage: true,
        }),
        (true, false) if body.store != Some(false) => Ok(Delivery::Background),
        (true, true) if body.store != Some(false) => Ok(Delivery::BackgroundStream),
        (true, _) => {
            let text = "`store` must not be false with `background`: a background response is read from the store.";
            Err(ApiError::invalid(text).at("store"))
        }
    }
}

/// Returns the fields as they were sent, with OpenAI's defaults for absent ones. `parse` replaces the ones it decides.
fn echo(body: ResponseRequestBody) -> RequestEcho {
    RequestEcho {
        background: body.background == Some(true),
        instructions: body.instructions,
        max_output_tokens: body.max_output_tokens,
        max_tool_calls: body.max_tool_calls,
        metadata: body.metadata.unwrap_or_default(),
        parallel_tool_calls: body.parallel_tool_calls != Some(false),
        previous_response_id: body.previous_response_id,
        prompt_cache_key: body.prompt_cache_key,
        reasoning: ReasoningEcho::new(None, Summary::None),
        safety_identifier: body.safety_identifier,
        service_tier: default_tier(),
        store: body.store != Some(false),
        temperature: body.temperature.unwrap_or(1.0),
        text: text_echo(body.text),
        tool_choice: body.tool_choice.unwrap_or_else(ToolChoiceEcho::auto),
        tools: Vec::new(),
        top_logprobs: 0,
        top_p: body.top_p.unwrap_or(1.0),
        presence_penalty: body.presence_penalty.unwrap_or(0.0),
        frequency_penalty: body.frequency_penalty.unwrap_or(0.0),
        truncation: body.truncation.unwrap_or_else(|| "disabled".to_owned()),
        user: body.user,
    }
}

/// The tier of a request that selects none. Codex does not report the tier that served a request.
fn default_tier() -> String {
    "default".to_owned()
}
