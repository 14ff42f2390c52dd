//! The lines of `codex proto` that we write and read (Codex 0.36 to 0.42): submissions in, events out.
//! Only the fields that we use; both shapes of the wild are read, the event in `msg` or at the top.

use std::borrow::Cow;
use std::time::{Duration, SystemTime};

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::codex::json_line::json_line;
use crate::codex::rate_limits;
use crate::turn::Usage;

/// The submission that a child is made for. An approval is answered by the id of the turn that asks.
const TURN: &str = "turn";

#[derive(Serialize)]
struct Submission<Op> {
    id: &'static str,
    op: Op,
}

/// What a child can be told.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Op<'a> {
    /// The one turn. Policies and folder are those of the arguments: others would be told to the model once more.
    UserTurn {
        items: Vec<Item<'a>>,
        cwd: &'a str,
        approval_policy: &'static str,
        sandbox_policy: SandboxPolicy,
        model: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        effort: Option<&'static str>,
        summary: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        final_output_json_schema: Option<&'a RawValue>,
    },
    /// A command that asks to run may not.
    ExecApproval { id: &'static str, decision: Denied },
    /// A patch that asks to be applied may not.
    PatchApproval { id: &'static str, decision: Denied },
    /// Ends turn and child, which waits for the end of its stdin.
    Shutdown,
}

#[derive(Serialize)]
pub(super) struct SandboxPolicy {
    pub(super) mode: &'static str,
}

/// The model is told, and goes on.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Denied {
    Denied,
}

/// A part of what the user says.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Item<'a> {
    Text { text: Cow<'a, str> },
    Image { image_url: &'a str },
}

impl Op<'_> {
    pub(super) fn deny_exec() -> Self {
        Self::ExecApproval {
            id: TURN,
            decision: Denied::Denied,
        }
    }

    pub(super) fn deny_patch() -> Self {
        Self::PatchApproval {
            id: TURN,
            decision: Denied::Denied,
        }
    }

    /// The line that tells it, with its end.
    pub(super) fn line(&self) -> Vec<u8> {
        let id = match self {
            Self::UserTurn { .. } => TURN,
            Self::ExecApproval { .. } | Self::PatchApproval { .. } => "denial",
            Self::Shutdown => "end",
        };
        json_line(&Submission { id, op: self })
    }
}

/// What a child says: the event's type, and the JSON object that has its fields.
#[derive(Debug)]
pub(super) struct Said<'a> {
    pub(super) event: Cow<'a, str>,
    fields: &'a str,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    event: Option<Cow<'a, str>>,
    #[serde(borrow)]
    msg: Option<&'a RawValue>,
}

impl<'a> Said<'a> {
    /// Reads a line.
    ///
    /// # Errors
    /// It is no JSON object, or names no type.
    pub(super) fn parse(line: &'a str) -> Result<Self, serde_json::Error> {
        let top: Envelope<'a> = serde_json::from_str(line)?;
        let fields = top.msg.map_or(line, RawValue::get);
        let inner: Envelope<'a> = serde_json::from_str(fields)?;
        let event = inner.event.or(top.event);
        let event = event.ok_or_else(|| serde::de::Error::missing_field("type"))?;
        Ok(Self { event, fields })
    }

    /// The fields of the event.
    ///
    /// # Errors
    /// They have another shape than the protocol says.
    pub(super) fn read<T: Deserialize<'a>>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_str(self.fields)
    }
}

/// `agent_message_delta`, `agent_reasoning_delta`.
#[derive(Deserialize)]
pub(super) struct Delta {
    pub(super) delta: String,
}

/// `agent_message`, `error`, `stream_error`.
#[derive(Deserialize)]
pub(super) struct Message {
    pub(super) message: String,
}

/// `agent_reasoning`.
#[derive(Deserialize)]
pub(super) struct Reasoning {
    pub(super) text: String,
}

/// `task_complete`.
#[derive(Deserialize)]
pub(super) struct TaskComplete {
    pub(super) last_agent_message: Option<String>,
}

/// `exec_command_end`.
#[derive(Deserialize)]
pub(super) struct ExecCommandEnd {
    pub(super) exit_code: i32,
}

/// The exit code of a command that could not be started.
pub(super) const NOT_STARTED: i32 = -1;

/// `token_count`: `info` is null until the first response of the model is over.
#[derive(Deserialize)]
pub(super) struct TokenCount {
    pub(super) info: Option<TokenInfo>,
    pub(super) rate_limits: Option<RateLimits>,
}

#[derive(Deserialize)]
pub(super) struct TokenInfo {
    pub(super) total_token_usage: Tokens,
}

/// Tokens of all model calls of the process.
#[derive(Default, Deserialize)]
#[serde(default)]
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
pub(super) struct RateLimits {
    primary: Option<RateLimitWindow>,
    secondary: Option<RateLimitWindow>,
}

#[derive(Deserialize)]
struct RateLimitWindow {
    /// Percent.
    #[serde(default)]
    used_percent: f64,
    window_minutes: Option<u64>,
    /// From the moment of the event on.
    resets_in_seconds: Option<u64>,
}

impl From<RateLimits> for rate_limits::RateLimits {
    fn from(limits: RateLimits) -> Self {
        let now = SystemTime::now();
        let window = |window: RateLimitWindow| {
            let resets_in = window.resets_in_seconds.map(Duration::from_secs);
            let resets_at = resets_in.and_then(|wait| now.checked_add(wait));
            rate_limits::RateLimitWindow::new(window.used_percent, window.window_minutes, resets_at)
        };
        Self {
            primary: limits.primary.map(window),
            secondary: limits.secondary.map(window),
        }
    }
}
