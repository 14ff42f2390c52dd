//! Lines of the child: responses, requests and notifications.

use std::borrow::Cow;

use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::codex::app_server::ids::{ThreadId, TurnId};
use crate::codex::wire::{RateLimits, TokenCounts};
use crate::turn::{Phase, ReasoningItem, ToolCall, ToolKind};

/// Any line of the child: a response, a request or a notification, distinguished by the fields that are present.
#[derive(Deserialize)]
pub(crate) struct Incoming<'a> {
    #[serde(borrow)]
    pub(crate) id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(crate) params: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) result: Option<&'a RawValue>,
    pub(crate) error: Option<CallError>,
}

/// A delta of the model's text. Most lines are text deltas, so that they have a parser of their own with a single pass.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TextDelta<'a> {
    #[serde(borrow)]
    pub(crate) thread_id: Cow<'a, str>,
    pub(crate) delta: String,
}

impl<'a> TextDelta<'a> {
    /// Parses a text delta. `None` for every other line, and for a delta with its fields in an unusual order;
    /// `Incoming` reads those. A notification has no id (JSON-RPC 2.0, section 4.1), so that the line cannot be a
    /// request.
    pub(crate) fn parse(line: &'a str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Line<'a> {
            #[serde(borrow)]
            params: TextDelta<'a>,
        }
        // Codex always writes the method first; the prefix decides without parsing.
        if !line.starts_with(r#"{"method":"item/agentMessage/delta","params":{"#) {
            return None;
        }
        let line: Line<'a> = serde_json::from_str(line).ok()?;
        Some(line.params)
    }
}

/// The error of a rejected call.
#[derive(Debug, Deserialize)]
pub(crate) struct CallError {
    pub(crate) code: i64,
    #[serde(default)]
    pub(crate) message: String,
}

/// Error code of "Server overloaded; retry later."
pub(crate) const OVERLOADED: i64 = -32001;

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AuthStatus {
    pub(crate) auth_method: Option<String>,
    pub(crate) requires_openai_auth: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AccountRead {
    pub(crate) account: Option<serde::de::IgnoredAny>,
    pub(crate) requires_openai_auth: Option<bool>,
}

#[derive(Deserialize)]
pub(crate) struct Identified<Id> {
    pub(crate) id: Id,
}

#[derive(Deserialize)]
pub(crate) struct ThreadStarted {
    pub(crate) thread: Identified<ThreadId>,
}

#[derive(Deserialize)]
pub(crate) struct ThreadResumed {
    pub(crate) thread: ResumedThread,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResumedThread {
    pub(crate) id: ThreadId,
    pub(crate) session_id: Option<String>,
}

#[derive(Deserialize)]
pub(crate) struct TurnStarted {
    pub(crate) turn: Identified<TurnId>,
}

/// The field that every notification about a thread has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct AboutThread<'a> {
    #[serde(borrow)]
    pub(crate) thread_id: Cow<'a, str>,
}

/// `item/completed`, reduced to the id of the item.
#[derive(Deserialize)]
pub(crate) struct CompletedItemId {
    pub(crate) item: Identified<String>,
}

/// Returns the id of the thread that a notification or request is about, unless it is a delta, which changes nothing that the
/// rollout file of the thread has.
pub(crate) fn thread_of(line: &str) -> Option<Cow<'_, str>> {
    let incoming: Incoming<'_> = serde_json::from_str(line).ok()?;
    if incoming.method?.ends_with("elta") {
        return None;
    }
    let about: AboutThread<'_> = serde_json::from_str(incoming.params?.get()).ok()?;
    Some(about.thread_id)
}

#[derive(Deserialize)]
pub(crate) struct Delta {
    pub(crate) delta: String,
}

#[derive(Deserialize)]
pub(crate) struct ItemCompleted<'a> {
    #[serde(borrow)]
    pub(crate) item: CompletedItem<'a>,
}

/// `item/started`: an item of which the provider has announced only the type.
#[derive(Deserialize)]
pub(crate) struct ItemStarted<'a> {
    #[serde(borrow)]
    pub(crate) item: StartedItem<'a>,
}

#[derive(Deserialize)]
pub(crate) struct StartedItem<'a> {
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) phase: Option<Cow<'a, str>>,
}

/// A completed item. `text` is parsed only for the kinds that have one.
#[derive(Deserialize)]
pub(crate) struct CompletedItem<'a> {
    #[serde(rename = "type", borrow)]
    pub(crate) kind: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) text: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(crate) phase: Option<Cow<'a, str>>,
}

/// `rawResponseItem/completed`: an item as the provider sent it. Injected items come back too, under another turn's id.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RawItemCompleted<'a> {
    #[serde(borrow)]
    pub(crate) turn_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(crate) item: &'a RawValue,
}

/// The raw items with content that no other notification has.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(crate) enum RawItem {
    Message(RawMessage),
    FunctionCall(RawCall),
    /// An output that the sidecar has sent.
    FunctionCallOutput(IgnoredAny),
    /// A call of one of Codex's own tools that is not a function.
    #[serde(alias = "local_shell_call", alias = "tool_search_call")]
    CustomToolCall(IgnoredAny),
    Reasoning(RawReasoning),
    #[serde(other)]
    Other,
}

/// A message of the model.
#[derive(Deserialize)]
pub(crate) struct RawMessage {
    phase: Option<String>,
    #[serde(default)]
    content: Vec<RawContent>,
}

#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum RawContent {
    OutputText {
        text: String,
    },
    #[serde(other)]
    Other,
}

impl RawMessage {
    /// Returns the text and the phase of a message that is one text.
    pub(crate) fn into_text(self) -> Option<(String, Option<Phase>)> {
        let [RawContent::OutputText { text }] = <[RawContent; 1]>::try_from(self.content).ok()?
        else {
            return None;
        };
        Some((text, self.phase.as_deref().and_then(Phase::parse)))
    }
}

#[derive(Deserialize)]
pub(crate) struct RawCall {
    call_id: String,
    name: String,
    namespace: Option<String>,
    arguments: String,
}

impl From<RawCall> for ToolCall {
    fn from(call: RawCall) -> Self {
        Self {
            call_id: call.call_id,
            name: call.name,
            namespace: call.namespace,
            kind: ToolKind::Function,
            arguments: call.arguments,
        }
    }
}

#[derive(Deserialize)]
pub(crate) struct RawReasoning {
    #[serde(default)]
    summary: Vec<RawPart>,
    encrypted_content: Option<String>,
}

impl From<RawReasoning> for ReasoningItem {
    fn from(item: RawReasoning) -> Self {
        Self {
            summary: item.summary.into_iter().map(|part| part.text).collect(),
            encrypted_content: item.encrypted_content,
        }
    }
}

#[derive(Deserialize)]
struct RawPart {
    #[serde(default)]
    text: String,
}

/// `item/tool/call`: the child's request for the output of a tool call.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ToolCallRequest {
    pub(crate) thread_id: String,
    call_id: String,
    tool: String,
    namespace: Option<String>,
    #[serde(default)]
    arguments: Value,
}

impl From<ToolCallRequest> for ToolCall {
    fn from(request: ToolCallRequest) -> Self {
        Self {
            call_id: request.call_id,
            name: request.tool,
            namespace: request.namespace,
            kind: ToolKind::Function,
            arguments: request.arguments.to_string(),
        }
    }
}

/// `rawResponse/completed`: the end of a response of the model, after which all of its calls are known.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ResponseCompleted<'a> {
    #[serde(borrow)]
    pub(crate) turn_id: Cow<'a, str>,
    pub(crate) usage: Option<TokenCounts>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TokenUsageUpdated {
    pub(crate) token_usage: TokenUsage,
}

#[derive(Deserialize)]
pub(crate) struct TokenUsage {
    pub(crate) total: TokenCounts,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct ErrorNotice {
    pub(crate) error: TurnFailure,
    #[serde(default)]
    pub(crate) will_retry: bool,
}

#[derive(Deserialize)]
pub(crate) struct TurnCompleted {
    pub(crate) turn: CompletedTurn,
}

#[derive(Deserialize)]
pub(crate) struct CompletedTurn {
    pub(crate) status: String,
    pub(crate) error: Option<TurnFailure>,
}

/// The error of a turn that the child could not finish.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct TurnFailure {
    #[serde(default)]
    pub(crate) message: String,
    #[serde(default)]
    pub(crate) codex_error_info: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct RateLimitsUpdated {
    pub(crate) rate_limits: RateLimits,
}
