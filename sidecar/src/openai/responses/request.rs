//! A request for a response: strict where a mistake would be silent, tolerant where clients are sloppy.
//! OpenAI API reference, "Create a model response".

use std::sync::Arc;

use serde_json::value::RawValue;

use super::body::{Body, Text};
use super::echo::{ChoiceEcho, Echo, Format, ReasoningEcho, TextEcho, ToolEcho};
use super::input::items;
use super::tools::{OtherTools, functions, tools};
use crate::openai::models::ModelAccess;
use crate::openai::request::fields;
use crate::openai::{ApiError, Delivery, Ignored};
use crate::store::{ConversationNode, ResponseStore};
use crate::turn::{
    Content, Effort, Item, Message, Profile, Role, Summary, Tools, TruncationRules, TurnRequest,
};

/// What the answer needs to know of the request.
#[derive(Debug)]
pub struct Reply {
    /// How to answer.
    pub delivery: Delivery,
    /// Fields that were read and not honoured.
    pub ignored: Ignored,
    /// Where the text ends before the model does.
    pub cut: TruncationRules,
    /// Whether the response is kept.
    pub(super) store: bool,
    /// Whether the client reads the thoughts that only the provider understands.
    pub(super) encrypted_reasoning: bool,
    pub(super) echo: Echo,
    /// What the conversation goes on from.
    pub(super) before: Option<Arc<ConversationNode>>,
    /// What the request brought.
    pub(super) input: Vec<Item>,
    /// For the operator's limit, and for the estimate of a usage that Codex does not report.
    pub prompt_chars: usize,
}

impl Reply {
    /// The id that the client chose for the model.
    pub fn model_id(&self) -> &str {
        &self.echo.model
    }
}

/// The responses that a client can refer to.
#[derive(Debug, Clone, Copy)]
pub struct ClientResponses<'a> {
    /// Those of all clients.
    pub store: &'a ResponseStore,
    /// Whose they have to be.
    pub client: &'a str,
}

/// Reads a request body.
///
/// # Errors
/// The body is not JSON, a field is wrong, or asks for what Codex cannot do; `param` points at the place.
pub fn parse(
    body: &[u8],
    models: &ModelAccess<'_>,
    profile: Profile,
    shelf: &ClientResponses<'_>,
) -> Result<(TurnRequest, Reply), ApiError> {
    let mut ignored = Ignored::default();
    let mut body = Body::read(body, &mut ignored)?;
    let (model_id, mut model) = models.resolve(body.model.as_deref())?;
    let (effort, summary) = reasoning(&body)?;
    model.effort = effort.or(model.effort);

    let mut said = said(&mut body, shelf, &mut ignored)?;
    let text = text_echo(body.text.take());
    let schema = schema(&text.format, &mut said.conversation)?;
    let offered = offered(&mut body, &mut ignored)?;
    let turn = TurnRequest {
        profile,
        conversation: said.conversation,
        tools: offered.tools,
        schema,
        summary,
        model,
    };
    let reply = Reply {
        delivery: delivery(&body)?,
        ignored,
        cut: cut(&body)?,
        store: body.store != Some(false),
        encrypted_reasoning: includes_encrypted_reasoning(body.include.as_deref())?,
        before: said.before,
        input: said.input,
        prompt_chars: turn.prompt_chars(),
        echo: Echo {
            reasoning: ReasoningEcho::of(turn.model.effort, summary),
            text,
            tool_choice: offered.choice,
            tools: offered.functions,
            ..echo(body, model_id)
        },
    };
    Ok((turn, reply))
}

/// What is said in a turn.
struct Said {
    before: Option<Arc<ConversationNode>>,
    input: Vec<Item>,
    /// All of it, with the instructions, which are those of this turn alone.
    conversation: Vec<Item>,
}

fn said(
    body: &mut Body,
    shelf: &ClientResponses<'_>,
    ignored: &mut Ignored,
) -> Result<Said, ApiError> {
    let before = before(body, shelf)?;
    let earlier = before.as_deref().map(ConversationNode::conversation);
    let earlier = earlier.unwrap_or_default();
    let input = body.input.take().ok_or_else(|| {
        ApiError::invalid("A response needs an input: a string, or items.").at("input")
    })?;
    let input = items(input, &earlier, shelf, ignored)?;
    let instructions = body.instructions.as_deref().map(developer).into_iter();
    let conversation = instructions.chain(earlier).chain(input.iter().cloned());
    Ok(Said {
        conversation: conversation.collect(),
        before,
        input,
    })
}

/// What the model may call, and how that is echoed.
struct Offered {
    tools: Tools,
    functions: Vec<ToolEcho>,
    choice: ChoiceEcho,
}

fn offered(body: &mut Body, ignored: &mut Ignored) -> Result<Offered, ApiError> {
    let others = match body.client_metadata {
        Some(_) => OtherTools::Drop,
        None => OtherTools::Refuse,
    };
    let functions = functions(body.tools.take().unwrap_or_default(), others, ignored)?;
    let choice = body.tool_choice.take().unwrap_or_else(ChoiceEcho::auto);
    Ok(Offered {
        tools: tools(&functions, &choice, body.parallel_tool_calls != Some(false))?,
        functions,
        choice,
    })
}

fn cut(body: &Body) -> Result<TruncationRules, ApiError> {
    Ok(TruncationRules {
        max_tokens: fields::max_tokens("max_output_tokens", body.max_output_tokens)?,
        ..TruncationRules::default()
    })
}

fn reasoning(body: &Body) -> Result<(Option<Effort>, Summary), ApiError> {
    let Some(reasoning) = &body.reasoning else {
        return Ok((None, Summary::None));
    };
    let effort = fields::effort([("reasoning.effort", reasoning.effort.as_deref())])?;
    let word = reasoning
        .summary
        .as_ref()
        .or(reasoning.generate_summary.as_ref());
    let summary = fields::summary("reasoning.summary", word.map(String::as_str))?;
    Ok((effort, summary))
}

fn before(
    body: &Body,
    shelf: &ClientResponses<'_>,
) -> Result<Option<Arc<ConversationNode>>, ApiError> {
    let Some(id) = body.previous_response_id.as_deref() else {
        return Ok(None);
    };
    let refused =
        |code, text: String| Err(ApiError::bad_request(code, text).at("previous_response_id"));
    match shelf.store.stored(shelf.client, id) {
        Some(stored) if stored.continuable => Ok(Some(Arc::clone(&stored.exchange))),
        Some(_) => refused(
            "invalid_request_error",
            format!(
                "Response with id '{id}' failed or was cancelled: it has no end to go on from."
            ),
        ),
        None if shelf.store.is_running(shelf.client, id) => refused(
            "invalid_request_error",
            format!("Response with id '{id}' is still being made; wait until it is over."),
        ),
        None => refused(
            "previous_response_not_found",
            format!("Previous response with id '{id}' not found; send the conversation as input."),
        ),
    }
}

fn developer(text: &str) -> Item {
    Item::Message(Message {
        role: Role::Developer,
        content: vec![Content::Text(text.to_owned())],
    })
}

fn text_echo(text: Option<Text>) -> TextEcho {
    let (format, verbosity) = text.map_or((None, None), |text| (text.format, text.verbosity));
    TextEcho {
        format: format.unwrap_or_else(Format::text),
        verbosity,
    }
}

/// A schema is Codex's affair.
fn schema(
    format: &Format,
    conversation: &mut Vec<Item>,
) -> Result<Option<Box<RawValue>>, ApiError> {
    match (format.kind.as_str(), &format.name, &format.schema) {
        ("text", ..) => Ok(None),
        ("json_object", ..) => {
            conversation.push(fields::json_object_instruction());
            Ok(None)
        }
        ("json_schema", Some(name), Some(schema)) => {
            fields::check_schema(name, schema, "text.format")?;
            Ok(Some(schema.clone()))
        }
        ("json_schema", ..) => {
            let text = "This format needs a name and a schema: {\"type\": \"json_schema\", \"name\": …, \"schema\": …}.";
            Err(ApiError::invalid(text).at("text.format"))
        }
        (other, ..) => {
            let text = format!("{other:?} is no format; use text, json_object or json_schema.");
            Err(ApiError::invalid(text).at("text.format.type"))
        }
    }
}

fn includes_encrypted_reasoning(include: Option<&[String]>) -> Result<bool, ApiError> {
    const ENCRYPTED: &str = "reasoning.encrypted_content";
    let include = include.unwrap_or_default();
    match include.iter().position(|name| name != ENCRYPTED) {
        Some(index) => {
            let text = format!("{:?} cannot be included; use {ENCRYPTED}.", include[index]);
            Err(ApiError::unsupported(format!("include[{index}]"), text))
        }
        None => Ok(!include.is_empty()),
    }
}

fn delivery(body: &Body) -> Result<Delivery, ApiError> {
    match (body.background == Some(true), body.stream == Some(true)) {
        (false, false) => Ok(Delivery::Buffered),
        (false, true) => Ok(Delivery::Stream {
            include_usage: true,
        }),
        (true, false) if body.store != Some(false) => Ok(Delivery::Background),
        (true, false) => {
            let text = "A response in the background has to be stored, or nobody could read it.";
            Err(ApiError::invalid(text).at("store"))
        }
        (true, true) => {
            let text = "A response in the background cannot be streamed; ask for it again instead.";
            Err(ApiError::unsupported("background", text))
        }
    }
}

/// What comes back as it was sent, with OpenAI's defaults for the rest.
fn echo(body: Body, model: String) -> Echo {
    Echo {
        model,
        background: body.background == Some(true),
        instructions: body.instructions,
        max_output_tokens: body.max_output_tokens,
        max_tool_calls: body.max_tool_calls,
        metadata: body.metadata.unwrap_or_default(),
        parallel_tool_calls: body.parallel_tool_calls != Some(false),
        previous_response_id: body.previous_response_id,
        prompt_cache_key: body.prompt_cache_key,
        reasoning: ReasoningEcho::of(None, Summary::None),
        safety_identifier: body.safety_identifier,
        service_tier: "default",
        store: body.store != Some(false),
        temperature: body.temperature.unwrap_or(1.0),
        text: text_echo(body.text),
        tool_choice: body.tool_choice.unwrap_or_else(ChoiceEcho::auto),
        tools: Vec::new(),
        top_logprobs: 0,
        top_p: body.top_p.unwrap_or(1.0),
        presence_penalty: body.presence_penalty.unwrap_or(0.0),
        frequency_penalty: body.frequency_penalty.unwrap_or(0.0),
        truncation: body.truncation.unwrap_or_else(|| "disabled".to_owned()),
        user: body.user,
    }
}
