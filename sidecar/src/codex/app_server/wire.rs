//! The messages of `codex app-server` that we write and read (protocol v2, JSON-RPC 2.0 without its version field).
//! Only the fields that we use; unknown ones are ignored, as the protocol adds fields with each release.

use std::borrow::Cow;
use std::path::Path;
use std::time::{Duration, UNIX_EPOCH};

use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::history::HistoryItem;
use super::names;
use crate::codex::launch::sandbox::Workspace;
use crate::codex::rate_limits;
use crate::turn::{ReasoningItem, Tool, ToolCall, TurnRequest, Usage};

/// A call that expects an answer with the same id.
#[derive(Serialize)]
pub(super) struct Call<'a, P> {
    pub(super) id: u64,
    pub(super) method: &'a str,
    pub(super) params: P,
}

/// Whatever the child says: an answer, a request or a notification, told apart by which fields are there.
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

/// A piece of an answer: of these there are more than of all other lines, so that it is read in one go.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TextDelta<'a> {
    #[serde(borrow)]
    pub(super) thread_id: Cow<'a, str>,
    pub(super) delta: String,
}

impl<'a> TextDelta<'a> {
    /// `None` for every other line, and for one that begins in another way than Codex writes it: `Incoming` reads all.
    /// A notification has no id (JSON-RPC 2.0, section 4.1), so that none is looked for.
    pub(super) fn parse(line: &'a str) -> Option<Self> {
        #[derive(Deserialize)]
        struct Line<'a> {
            #[serde(borrow)]
            params: TextDelta<'a>,
        }
        if !line.starts_with(r#"{"method":"item/agentMessage/delta","params":{"#) {
            return None;
        }
        let line: Line<'a> = serde_json::from_str(line).ok()?;
        Some(line.params)
    }
}

/// Why a call was refused.
#[derive(Debug, Deserialize)]
pub(super) struct CallError {
    pub(super) code: i64,
    #[serde(default)]
    pub(super) message: String,
}

/// `-32001`: "Server overloaded; retry later."
pub(super) const OVERLOADED: i64 = -32001;

/// Notifications that we have no use for; the child need not write them.
const UNUSED_NOTIFICATIONS: [&str; 7] = [
    "thread/started",
    "thread/status/changed",
    "thread/settings/updated",
    "turn/started",
    "item/started",
    "remoteControl/status/changed",
    "mcpServer/startupStatus/updated",
];

/// The parameters of `initialize`.
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
    /// The model's items as the provider sent them: calls with their arguments, reasoning, refusals.
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
    /// No prompt but the client's, no tools.
    Plain {
        base_instructions: &'static str,
        environments: [(); 0],
    },
    /// Codex's own prompt and tools, in a folder of its own.
    Agent { cwd: &'a Path, config: Value },
}

impl<'a> ThreadStart<'a> {
    /// A thread that leaves nothing on disk; with a workspace it is an agent's, without one a plain model's.
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
    pub(super) thread_id: &'a str,
    pub(super) items: Vec<HistoryItem<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TurnStart<'a> {
    pub(super) thread_id: &'a str,
    pub(super) input: [(); 0],
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) effort: Option<&'static str>,
    pub(super) summary: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) output_schema: Option<&'a RawValue>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TurnInterrupt<'a> {
    pub(super) thread_id: &'a str,
    pub(super) turn_id: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ThreadUnsubscribe<'a> {
    pub(super) thread_id: &'a str,
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
pub(super) struct Identified {
    pub(super) id: String,
}

#[derive(Deserialize)]
pub(super) struct ThreadStarted {
    pub(super) thread: Identified,
}

#[derive(Deserialize)]
pub(super) struct TurnStarted {
    pub(super) turn: Identified,
}

/// What every notification about a turn carries.
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

/// An item as the provider sent it. Those that we put into the history come back under another turn's id.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawItemCompleted<'a> {
    #[serde(borrow)]
    pub(super) turn_id: Cow<'a, str>,
    #[serde(borrow)]
    pub(super) item: &'a RawValue,
}

/// The items that say more than the other notifications do.
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

/// `item/tool/call`: the child wants to know what came of a call.
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
    fn from(asked: ToolCallRequest) -> Self {
        Self {
            call_id: asked.call_id,
            name: asked.tool,
            arguments: asked.arguments.to_string(),
        }
    }
}

/// The model's response is over: all of its calls are known.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct ResponseCompleted<'a> {
    #[serde(borrow)]
    pub(super) turn_id: Cow<'a, str>,
    pub(super) usage: Option<Tokens>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct TokenUsageUpdated {
    pub(super) token_usage: TokenUsage,
}

#[derive(Deserialize)]
pub(super) struct TokenUsage {
    pub(super) total: Tokens,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[derive(Default)]
pub(super) struct Tokens {
    input_tokens: u64,
    cached_input_tokens: u64,
    output_tokens: u64,
    reasoning_output_tokens: u64,
}

impl From<Tokens> for Usage {
    fn from(tokens: Tokens) -> Self {
        Self {
            input_tokens: tokens.input_tokens,
            cached_input_tokens: tokens.cached_input_tokens,
            output_tokens: tokens.output_tokens,
            reasoning_tokens: tokens.reasoning_output_tokens,
        }
    }
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

/// Why the child could not finish a turn.
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

#[derive(Deserialize)]
pub(super) struct RateLimits {
    primary: Option<RateLimitWindow>,
    secondary: Option<RateLimitWindow>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RateLimitWindow {
    /// Percent.
    #[serde(default)]
    used_percent: f64,
    /// Minutes.
    window_duration_mins: Option<u64>,
    /// Seconds since the epoch.
    resets_at: Option<u64>,
}

impl From<RateLimits> for rate_limits::RateLimits {
    fn from(limits: RateLimits) -> Self {
        let window = |window: RateLimitWindow| {
            let since_epoch = window.resets_at.map(Duration::from_secs);
            let resets_at = since_epoch.and_then(|time| UNIX_EPOCH.checked_add(time));
            rate_limits::RateLimitWindow::new(
                window.used_percent,
                window.window_duration_mins,
                resets_at,
            )
        };
        Self {
            primary: limits.primary.map(window),
            secondary: limits.secondary.map(window),
        }
    }
}
