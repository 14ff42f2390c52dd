//! Parses a request: strict where a mistake would go unnoticed, and with the words of Anthropic's API where clients read
//! them.

use super::body::{MessagesBody, OutputConfig};
use super::content::{Conversation, conversation, system};
use super::context::kept_thinking;
use super::effort::EffortFields;
use super::output::schema;
use super::thinking::{ThinkingDisplay, thinking};
use super::tools::tools;
use crate::openai::chat::ClientReasoning;
use crate::openai::models::ModelAccess;
use crate::openai::request::fields::{self, UnsupportedField};
use crate::openai::request::model::RequestedModel;
use crate::openai::request::{body, sampling};
use crate::openai::{ApiError, Delivery, IgnoredFields, ResponseOptions};
use crate::turn::{ConversationDigest, MemoryHold, Profile, TruncationRules, TurnRequest};

/// Stop sequences in one request. The API documents no limit; each is searched for in every text.
const MAX_STOP_SEQUENCES: usize = 64;

/// The parts of a request that its response needs.
#[derive(Debug)]
pub struct MessageSpec {
    /// The options that all formats share.
    pub options: ResponseOptions,
    /// The client's id of its user, a hint at the conversation.
    pub user_id: Option<String>,
    /// The thinking in the answer.
    pub(crate) thinking: ThinkingDisplay,
}

/// Parses a body of `/v1/messages`. `reasoning` has the reasoning items of earlier answers.
///
/// # Errors
/// 400 when the body is not JSON, a field is invalid, or Codex cannot honour a field; 403 or 404 for a model that the
/// client cannot use. `param` is the path of the field.
pub fn parse(
    body: &[u8],
    models: &ModelAccess<'_>,
    profile: Profile,
    reasoning: ClientReasoning<'_>,
) -> Result<(TurnRequest, MessageSpec), ApiError> {
    let mut ignored = IgnoredFields::default();
    let body: MessagesBody = body::read(body, &mut ignored)?;
    reject_foreign(&body)?;
    let max_tokens = max_tokens(&body)?;
    let (turn, mut spec) = turn(body, models, profile, reasoning, ignored)?;
    spec.options.truncation.max_tokens = Some(max_tokens);
    Ok((turn, spec))
}

/// Returns the turn of a body that has no fields of other routes; `max_tokens` may be absent.
pub(super) fn turn(
    mut body: MessagesBody,
    models: &ModelAccess<'_>,
    profile: Profile,
    reasoning: ClientReasoning<'_>,
    mut ignored: IgnoredFields,
) -> Result<(TurnRequest, MessageSpec), ApiError> {
    reject_unsupported(&body)?;
    check_ranges(&body, &mut ignored)?;
    add_unused(&body, &mut ignored);
    let (wish, thinking) = thinking(body.thinking.as_ref())?;
    let kept = kept_thinking(body.context_management.as_ref())?;
    let system = system(body.system.take(), &mut ignored)?;
    // Taken out of the body, not cloned: a conversation may have megabytes.
    let messages = body.messages.take().unwrap_or_default();
    let Conversation {
        items,
        effort,
        tool_changes,
    } = conversation(system, messages, &mut ignored)?;
    let efforts = EffortFields {
        in_message: effort.as_deref(),
        output_config: body.output_config.as_ref().and_then(OutputConfig::effort),
        thinking: wish,
    };
    let requested = RequestedModel {
        id: body.model.as_deref(),
        efforts: efforts.settings(models, body.model.as_deref(), &mut ignored)?,
        ..RequestedModel::default()
    };
    let (model_id, model) = models.resolve(&requested, &mut ignored)?;
    let mut items = reasoning.restore(items);
    kept.apply(&mut items);
    let schema = match format(&body) {
        Some((format, param)) => schema(format, param, &mut items, &mut ignored)?,
        None => None,
    };
    let (offered, choice) = (body.tools.take(), body.tool_choice.take());
    let turn = TurnRequest {
        profile,
        model,
        conversation: items,
        tools: tools(
            offered.unwrap_or_default(),
            choice,
            tool_changes,
            &mut ignored,
        )?,
        schema,
        summary: thinking.summary(),
        memory: MemoryHold::default(),
        hint: None,
        token_cap: None,
        digest: ConversationDigest::default(),
    };
    let options = ResponseOptions {
        delivery: Delivery::of(body.stream, None),
        ignored,
        truncation: TruncationRules {
            stop: stop_sequences(body.stop_sequences)?,
            ..TruncationRules::default()
        },
        context_window: models.context_window(&model_id),
        model_id,
        prompt_chars: turn.prompt_chars(),
    };
    let spec = MessageSpec {
        options,
        user_id: body.metadata.and_then(|metadata| metadata.user_id),
        thinking,
    };
    Ok((turn, spec))
}

/// Returns the format of the output with its path; the field of the beta is the older one.
fn format(body: &MessagesBody) -> Option<(&super::body::OutputFormat, &'static str)> {
    let config = body.output_config.as_ref();
    let current = config.and_then(|config| config.format.as_ref());
    match (current, &body.output_format) {
        (Some(format), _) => Some((format, "output_config.format")),
        (None, Some(format)) => Some((format, "output_format")),
        (None, None) => None,
    }
}

impl OutputConfig {
    fn effort(&self) -> Option<&str> {
        self.effort.as_deref()
    }
}

pub(super) fn reject_foreign(body: &MessagesBody) -> Result<(), ApiError> {
    fields::reject_foreign([
        (
            body.max_completion_tokens.is_some(),
            "max_completion_tokens",
            "use `max_tokens`",
        ),
        (body.stop.is_some(), "stop", "use `stop_sequences`"),
        (
            body.response_format.is_some(),
            "response_format",
            "use `output_config.format`",
        ),
        (
            body.reasoning_effort.is_some(),
            "reasoning_effort",
            "use `output_config.effort`",
        ),
        (
            body.parallel_tool_calls.is_some(),
            "parallel_tool_calls",
            "use `tool_choice.disable_parallel_tool_use`",
        ),
        (body.n.is_some(), "n", "send several requests"),
        (
            body.input.is_some(),
            "input",
            "send `messages`, or use /v1/responses",
        ),
        (body.instructions.is_some(), "instructions", "use `system`"),
        (body.prompt.is_some(), "prompt", "send `messages`"),
    ])
}

fn reject_unsupported(body: &MessagesBody) -> Result<(), ApiError> {
    if body.thread.is_some() {
        // The SDKs try a thread first, and go on without one at this code.
        let text =
            "Unsupported `thread`: this server stores no conversations. Send all `messages`.";
        return Err(ApiError::bad_request("thread_unsupported_request", text).at("thread"));
    }
    let servers = body.mcp_servers.as_deref().unwrap_or_default();
    let config = body.output_config.as_ref();
    let task_budget = config.is_some_and(|config| config.task_budget.is_some());
    let is_fast = body
        .speed
        .as_deref()
        .is_some_and(|speed| speed != "standard");
    fields::reject_unsupported([
        UnsupportedField::new(
            body.container.is_some(),
            "container",
            "Containers are not supported; offer tools that the client runs.",
        ),
        UnsupportedField::new(
            !servers.is_empty(),
            "mcp_servers",
            "This server connects to no MCP servers; offer their tools in `tools`.",
        ),
        UnsupportedField::new(
            body.inference_geo.is_some(),
            "inference_geo",
            "The region cannot be chosen; leave the field out.",
        ),
        UnsupportedField::new(
            body.fallbacks.is_some(),
            "fallbacks",
            "This server does not change the model; send another request.",
        ),
        UnsupportedField::new(
            body.compaction.is_some(),
            "compaction",
            "This server does not summarize conversations; shorten `messages`.",
        ),
        UnsupportedField::new(
            task_budget,
            "output_config.task_budget",
            "Codex has no budget for a task; use `max_tokens`.",
        ),
        UnsupportedField::new(is_fast, "speed", "`speed` must be standard."),
    ])
}

fn check_ranges(body: &MessagesBody, ignored: &mut IgnoredFields) -> Result<(), ApiError> {
    // The ranges of the API are those of OpenAI, except for the temperature.
    fields::check_range("temperature", body.temperature, 0.0..=1.0)?;
    let sampling = sampling::Sampling {
        temperature: body.temperature,
        top_p: body.top_p,
        presence_penalty: None,
        frequency_penalty: None,
    };
    sampling.check(ignored)?;
    match body.service_tier.as_deref() {
        // Both name the tier that is used anyway.
        None | Some("auto" | "standard_only") => Ok(()),
        Some(other) => {
            let text = format!("Invalid service tier {other:?}. Use auto or standard_only.");
            Err(ApiError::invalid(text).at("service_tier"))
        }
    }
}

/// Adds the fields that Codex has no counterpart for.
fn add_unused(body: &MessagesBody, ignored: &mut IgnoredFields) {
    for (name, is_present) in [
        ("top_k", body.top_k.is_some()),
        ("cache_control", body.cache_control.is_some()),
        ("diagnostics", body.diagnostics.is_some()),
    ] {
        ignored.add_if(name, is_present);
    }
}

fn max_tokens(body: &MessagesBody) -> Result<u64, ApiError> {
    fields::max_tokens("max_tokens", body.max_tokens)?.ok_or_else(|| {
        ApiError::invalid("Missing `max_tokens`, which this API requires.").at("max_tokens")
    })
}

fn stop_sequences(sequences: Option<Vec<String>>) -> Result<Vec<String>, ApiError> {
    let sequences = sequences.unwrap_or_default();
    if sequences.len() > MAX_STOP_SEQUENCES {
        let text = format!("`stop_sequences` accepts at most {MAX_STOP_SEQUENCES} sequences.");
        return Err(ApiError::invalid(text).at("stop_sequences"));
    }
    match sequences.iter().position(String::is_empty) {
        Some(index) => {
            let text = "`stop_sequences` must not have an empty sequence.";
            Err(ApiError::invalid(text).at(format!("stop_sequences[{index}]")))
        }
        None => Ok(sequences),
    }
}
