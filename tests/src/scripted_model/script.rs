//! What to answer, arranged so that every script can be played.
//! The steps are those of the table in the docs of the parent module; `parse` reads and arranges them.

use std::num::NonZeroUsize;
use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::head::Head;

/// The answer to one request.
#[derive(Clone, Debug)]
pub struct Script {
    /// Silence before the head.
    pub(super) before: Vec<Wait>,
    pub(super) answer: Answer,
}

/// A refusal or a stream.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Status(Status),
    Stream {
        head: Head,
        acts: Vec<Act>,
        end: End,
    },
}

/// A silence.
#[derive(Clone, Debug)]
pub(super) enum Wait {
    Pause(Duration),
    /// Until the name is released.
    Hold(String),
}

/// One thing that the model does in a stream.
#[derive(Clone, Debug)]
pub(super) enum Act {
    Wait(Wait),
    Message(Message, Pace),
    Reasoning(Reasoning, Pace),
    Call(Call, Pace),
    CustomCall(CustomCall, Pace),
    Auto(Auto, Pace),
    Usage(Usage),
}

/// How a stream ends.
#[derive(Clone, Debug)]
pub(super) enum End {
    Completed,
    Incomplete(String),
    Failed(Failed),
    Cut(Cut),
}

/// How the text of an item is cut into deltas, how fast they come and how they are written.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Pace {
    /// Characters in a delta; the whole text is one delta when absent.
    pub(super) delta_chars: Option<NonZeroUsize>,
    /// Pause between two deltas.
    pub(super) delay_ms: u64,
    pub(super) writes: Writes,
}

/// How events become writes to the socket.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Writes {
    /// One write an event.
    #[default]
    PerEvent,
    /// As few writes as possible.
    Burst,
    /// Pieces of so many bytes, wherever that cuts a line or a character.
    Bytes(NonZeroUsize),
}

/// A message of the assistant, or a part of one.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) content: Content,
    pub(super) options: MessageOptions,
}

/// What the assistant says.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Content {
    Text(String),
    Chars(usize),
    Echo(Echo),
    Refusal(String),
}

/// The part of a request that is read back.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Echo {
    Input,
    Tools,
    Headers,
    Body,
}

/// What else can be said about a message.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct MessageOptions {
    pub(super) phase: Option<Phase>,
    /// The message is not closed: the next message step goes on with it, or the answer breaks off.
    pub(super) open: bool,
}

/// Whether a message is the answer or talk on the way to it.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Phase {
    Commentary,
    FinalAnswer,
}

/// A reasoning item: summary parts, raw text, and what the provider encrypts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Reasoning {
    #[serde(rename = "reasoning")]
    pub(super) summary: Vec<String>,
    pub(super) raw: Option<String>,
    pub(super) encrypted_content: Option<String>,
}

/// A call of a function tool.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Call {
    #[serde(rename = "call")]
    pub(super) name: String,
    /// A string is sent as it is, so that it need not be JSON; anything else as its compact JSON text.
    #[serde(default = "no_arguments")]
    pub(super) arguments: Value,
    pub(super) call_id: Option<String>,
    pub(super) namespace: Option<String>,
}

/// A call of a free-form tool.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CustomCall {
    #[serde(rename = "custom_call")]
    pub(super) name: String,
    #[serde(default)]
    pub(super) input: String,
    pub(super) call_id: Option<String>,
}

/// What an obedient model does.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Auto {
    /// What it says when nothing else is asked for.
    #[serde(rename = "auto")]
    pub(super) words: String,
}

/// Token counts that the answer reports; what is absent is computed from bytes.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Usage {
    pub(super) input_tokens: Option<u64>,
    pub(super) cached_tokens: Option<u64>,
    pub(super) output_tokens: Option<u64>,
    pub(super) reasoning_tokens: Option<u64>,
}

/// An answer that is an HTTP status instead of a stream.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Status {
    #[serde(deserialize_with = "super::head::error_status")]
    pub(super) status: StatusCode,
    /// Members of the error object, over those that the status brings along.
    #[serde(default)]
    pub(super) error: Map<String, Value>,
    /// The whole body instead of an error object.
    pub(super) body: Option<String>,
    #[serde(default)]
    pub(super) head: Head,
}

/// An end with `response.failed`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Failed {
    #[serde(rename = "failed")]
    pub(super) code: String,
    pub(super) message: Option<String>,
}

/// An end without a last event.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Cut {
    /// Half an event, then the connection is closed inside the body.
    Abort,
    /// The body ends as a whole one does, but `response.completed` never came.
    Clean,
}

fn no_arguments() -> Value {
    Value::Object(Map::new())
}
