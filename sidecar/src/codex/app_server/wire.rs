//! The messages of `codex app-server` (protocol v2, JSON-RPC 2.0 without the `jsonrpc` field), reduced to the fields that
//! the sidecar uses. Unknown fields are ignored, since each release of Codex adds some.

use std::borrow::Cow;
use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::history::HistoryItem;
use super::ids::{ThreadId, TurnId};
use super::names;
use crate::codex::launch::sandbox::Workspace;
use crate::codex::wire::{RateLimits, TokenCounts};
use crate::turn::{ReasoningItem, Tool, ToolCall, TurnRequest};

/// A call, which gets a response with the same id.
#[derive(Serialize)]
pub(super) struct Call<'a, P> {
    pub(super) id: u64,
    pub(super) method: &'a str,
    pub(super) params: P,
}

/// Any line of the child: a response, a request or a notification, distinguished by the fields that are present.
#[derive(Deserialize)]
pub(super) struct Incoming<'a> {
    #[serde(borrow)]
    pub(super) id: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) method: Option<Cow<'a, str>>,
    #[serde(borrow)]
    pub(super) params: Option<&'a RawValue>,
    #[serde(borrow)]
    pub(super) result: Option<&'a RawValue>,
    pub(super) error: Option<CallError>,
}

/// A delta of the model's text. Most lines are text deltas, so that they have a parser of their own with a single pass.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TextDelta<'a> {
    #[serde(borrow)]
    pub(super) thread_id: Cow<'a, str>,
    pub(super) delta: String,
}

impl<'a> TextDelta<'a> {
    /// Parses a text delta. `None` for every other line, and for a delta with its fields in an unusual order; `Incoming`
    /// reads those. A notification has no id (JSON-RPC 2.0, section 4.1), so that the line cannot be a request.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
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
pub(super) struct CallError {
    pub(super) code: i64,
    #[serde(default)]
    pub(super) message: String,
}

/// Error code of "Server overloaded; retry later."
pub(super) const OVERLOADED: i64 = -32001;

/// Notifications that the sidecar does not use, and that the child is asked not to write.
const UNUSED_NOTIFICATIONS: [&str; 7] = [
    "thread/started",
    "thread/status/changed",
    "thread/settings/updated",
    "turn/started",
    "item/started",
    "remoteControl/status/changed",
    "mcpServer/startupStatus/updated",
];

/// Returns the parameters of `initialize`.
pub(super) fn initialize() -> Value {
    serde_json::json!({
        "clientInfo": {
            "name": "codex-edge",
            "title": "codex-edge",
            "version": env!("CARGO_PKG_VERSION"),
        },
        "capabilities": {
            "experimentalApi": true,
            "requestAttestation": false,
            "optOutNotificationMethods": UNUSED_NOTIFICATIONS,
        },
    })
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ThreadStart<'a> {
    ephemeral: bool,
    model: &'a str,
    approval_policy: &'static str,
    sandbox: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    dynamic_tools: Vec<DynamicTool<'a>>,
    /// Asks for the model's items as the provider sent them: calls with their arguments, reasoning, refusals.
    experimental_raw_events: bool,
    #[serde(flatten)]
    kind: ThreadKind<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct DynamicTool<'a> {
    r#type: &'static str,
    name: Cow<'a, str>,
    description: &'a str,
    input_schema: &'a RawValue,
}

impl<'a> From<&'a Tool> for DynamicTool<'a> {
    fn from(tool: &'a Tool) -> Self {
        Self {
            r#type: "function",
            name: names::to_codex(&tool.name),
            description: &tool.description,
            input_schema: &tool.parameters,
        }
    }
}

#[derive(Serialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum ThreadKind<'a> {
    /// A plain model: the client's prompt only, without tools of Codex.
    Plain {
        base_instructions: &'static str,
        environments: [(); 0],
    },
    /// An agent: Codex's own prompt and tools, in the turn's workspace.
    Agent { cwd: &'a Path, config: Value },
}

impl<'a> ThreadStart<'a> {
    /// Returns the parameters of a thread that is not stored on disk. With a workspace, the turn has the agent profile.
    pub(super) fn new(request: &'a TurnRequest, workspace: Option<&'a Workspace>) -> Self {
        let kind = match workspace {
            None => ThreadKind::Plain {
                base_instructions: "",
                environments: [],
            },
            Some(workspace) => ThreadKind::Agent {
                cwd: workspace.folder(),
                config: workspace.settings(),
            },
        };
        Self {
            ephemeral: true,
            model: &request.model.name,
            approval_policy: "never",
            sandbox: workspace.map_or("read-only", Workspace::sandbox),
            dynamic_tools: request.tools.offered.iter().map(Into::into).collect(),
            experimental_raw_events: true,
            kind,
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct InjectItems<'a> {
    pub(super) thread_id: &'a ThreadId,
    pub(super) items: Vec<HistoryItem<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TurnStart<'a> {
    pub(super) thread_id: &'a ThreadId,
    pub(super) input: [(); 0],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) effort: Option<&'static str>,
    pub(super) summary: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output_schema: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TurnInterrupt {
    pub(super) thread_id: ThreadId,
    pub(super) turn_id: TurnId,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ThreadUnsubscribe {
    pub(super) thread_id: ThreadId,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AuthStatus {
    pub(super) auth_method: Option<String>,
    pub(super) requires_openai_auth: Option<bool>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AccountRead {
    pub(super) account: Option<serde::de::IgnoredAny>,
    pub(super) requires_openai_auth: Option<bool>,
}

#[derive(Deserialize)]
pub(super) struct Identified<Id> {
    pub(super) id: Id,
}

#[derive(Deserialize)]
pub(super) struct ThreadStarted {
    pub(super) thread: Identified<ThreadId>,
}

#[derive(Deserialize)]
pub(super) struct TurnStarted {
    pub(super) turn: Identified<TurnId>,
}

/// The field that every notification about a thread has.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct AboutThread<'a> {
    #[serde(borrow)]
    pub(super) thread_id: Cow<'a, str>,
}

#[derive(Deserialize)]
pub(super) struct Delta {
    pub(super) delta: String,
}

#[derive(Deserialize)]
pub(super) struct ItemCompleted<'a> {
    #[serde(borrow)]
    pub(super) item: Kind<'a>,
}

#[derive(Deserialize)]
pub(super) struct Kind<'a> {
    #[serde(rename = "type", borrow)]
    pub(super) kind: Cow<'a, str>,
}

/// `rawResponseItem/completed`: an item as the provider sent it. Injected items come back too, under another turn's id.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawItemCompleted<'a> {
    #[serde(borrow)]
    pub(super) turn_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) item: &'a RawValue,
}

/// The raw items with content that no other notification has.
#[derive(Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum RawItem {
    FunctionCall(RawCall),
    Reasoning(RawReasoning),
    #[serde(other)]
    Other,
}

#[derive(Deserialize)]
pub(super) struct RawCall {
    call_id: String,
    name: String,
    arguments: String,
}

impl From<RawCall> for ToolCall {
    fn from(call: RawCall) -> Self {
        Self {
            call_id: call.call_id,
            name: call.name,
            arguments: call.arguments,
        }
    }
}

#[derive(Deserialize)]
pub(super) struct RawReasoning {
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
pub(super) struct ToolCallRequest {
    pub(super) thread_id: String,
    call_id: String,
    tool: String,
    #[serde(default)]
    arguments: Value,
}

impl From<ToolCallRequest> for ToolCall {
    fn from(request: ToolCallRequest) -> Self {
        Self {
            call_id: request.call_id,
            name: request.tool,
            arguments: request.arguments.to_string(),
        }
    }
}

/// `rawResponse/completed`: the end of a response of the model, after which all of its calls are known.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResponseCompleted<'a> {
    #[serde(borrow)]
    pub(super) turn_id: Cow<'a, str>,
    pub(super) usage: Option<TokenCounts>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenUsageUpdated {
    pub(super) token_usage: TokenUsage,
}

#[derive(Deserialize)]
pub(super) struct TokenUsage {
    pub(super) total: TokenCounts,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ErrorNotice {
    pub(super) error: TurnFailure,
    #[serde(default)]
    pub(super) will_retry: bool,
}

#[derive(Deserialize)]
pub(super) struct TurnCompleted {
    pub(super) turn: CompletedTurn,
}

#[derive(Deserialize)]
pub(super) struct CompletedTurn {
    pub(super) status: String,
    pub(super) error: Option<TurnFailure>,
}

/// The error of a turn that the child could not finish.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TurnFailure {
    #[serde(default)]
    pub(super) message: String,
    #[serde(default)]
    pub(super) codex_error_info: Value,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RateLimitsUpdated {
    pub(super) rate_limits: RateLimits,
}
