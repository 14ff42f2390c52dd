//! The lines of `codex proto` (Codex 0.36 to 0.42), submissions and events, reduced to the fields that the sidecar
//! uses. Both known shapes of an event are parsed: its fields in `msg`, or at the top level.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use crate::codex::json_line::json_line;
use crate::codex::wire::{RateLimits, TokenCounts};

/// Id of the turn's submission. A response to an approval request repeats this id.
const TURN: &str = "turn";

#[derive(Serialize)]
struct Submission<Op> {
    id: &'static str,
    op: Op,
}

/// An operation that is submitted to a child.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Op<'a> {
    /// The turn. Policies and folder must be those of the arguments, or Codex tells the model about the difference.
    UserTurn {
        items: Vec<Item<'a>>,
        cwd: &'a str,
        approval_policy: &'static str,
        sandbox_policy: SandboxPolicy,
        model: &'a str,
        #[serde(skip_serializing_if = "Option::is_none")]
        effort: Option<&'a str>,
        summary: &'static str,
        #[serde(skip_serializing_if = "Option::is_none")]
        final_output_json_schema: Option<&'a RawValue>,
    },
    /// The denial of a command.
    ExecApproval { id: &'static str, decision: Denied },
    /// The denial of a patch.
    PatchApproval { id: &'static str, decision: Denied },
    /// Ends the turn. The child exits when its stdin is closed.
    Shutdown,
}

#[derive(Serialize)]
pub(super) struct SandboxPolicy {
    pub(super) mode: &'static str,
}

/// The decision on an approval request. The model sees the denial, and the turn goes on.
#[derive(Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Denied {
    Denied,
}

/// A part of the user's message.
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

    /// Returns the line of the submission, with its line break.
    pub(super) fn line(&self) -> Vec<u8> {
        let id = match self {
            Self::UserTurn { .. } => TURN,
            Self::ExecApproval { .. } | Self::PatchApproval { .. } => "denial",
            Self::Shutdown => "end",
        };
        json_line(&Submission { id, op: self })
    }
}

/// A line of the child: the event's type, and the JSON object with its fields.
#[derive(Debug)]
pub(super) struct EventLine<'a> {
    pub(super) kind: Cow<'a, str>,
    fields: &'a str,
}

#[derive(Deserialize)]
struct Envelope<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    msg: Option<&'a RawValue>,
}

impl<'a> EventLine<'a> {
    /// Parses a line.
    ///
    /// # Errors
    /// The line is not a JSON object, or has no type.
    pub(super) fn parse(line: &'a str) -> Result<Self, serde_json::Error> {
        let top: Envelope<'a> = serde_json::from_str(line)?;
        let fields = top.msg.map_or(line, RawValue::get);
        let inner: Envelope<'a> = serde_json::from_str(fields)?;
        let kind = inner
            .kind
            .or(top.kind)
            .ok_or_else(|| serde::de::Error::missing_field("type"))?;
        Ok(Self { kind, fields })
    }

    /// Parses the fields of the event.
    ///
    /// # Errors
    /// The fields do not have the shape of the protocol.
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

/// `token_count`; `info` is null until the end of the first model response.
#[derive(Deserialize)]
pub(super) struct TokenCount {
    pub(super) info: Option<TokenInfo>,
    pub(super) rate_limits: Option<RateLimits>,
}

#[derive(Deserialize)]
pub(super) struct TokenInfo {
    /// Tokens of all model calls of the process.
    pub(super) total_token_usage: TokenCounts,
}
