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
    pub(crate) before: Vec<Wait>,
    pub(crate) answer: Answer,
}

/// A refusal or a stream.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Status(Status),
    Stream {
        head: Head,
        acts: Vec<Act>,
        end: End,
    },
}

/// A silence.
#[derive(Clone, Debug)]
pub(crate) enum Wait {
    Pause(Duration),
    /// Until the name is released.
    Hold(String),
}

/// One thing that the model does in a stream.
#[derive(Clone, Debug)]
pub(crate) enum Act {
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
pub(crate) enum End {
    Completed,
    Incomplete(String),
    Failed(Failed),
    Cut(Cut),
}

/// How the text of an item is cut into deltas, how fast they come and how they are written.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Pace {
    /// Characters in a delta; the whole text is one delta when absent.
    pub(crate) delta_chars: Option<NonZeroUsize>,
    /// Pause between two deltas.
    pub(crate) delay_ms: u64,
    pub(crate) writes: Writes,
}

/// How events become writes to the socket.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Writes {
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
pub(crate) struct Message {
    pub(crate) content: Content,
    pub(crate) options: MessageOptions,
}

/// What the assistant says.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Content {
    Text(String),
    Chars(usize),
    Echo(Echo),
    Refusal(String),
}

/// The part of a request that is read back.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Echo {
    Input,
    Tools,
    Headers,
    Body,
}

/// What else can be said about a message.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MessageOptions {
    pub(crate) phase: Option<Phase>,
    /// The message is not closed: the next message step goes on with it, or the answer breaks off.
    pub(crate) open: bool,
}

/// Whether a message is the answer or talk on the way to it.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Phase {
    Commentary,
    FinalAnswer,
}

/// A reasoning item: summary parts, raw text, and what the provider encrypts.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Reasoning {
    #[serde(rename = "reasoning")]
    pub(crate) summary: Vec<String>,
    pub(crate) raw: Option<String>,
    pub(crate) encrypted_content: Option<String>,
}

/// A call of a function tool.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Call {
    #[serde(rename = "call")]
    pub(crate) name: String,
    /// A string is sent as it is, so that it need not be JSON; anything else as its compact JSON text.
    #[serde(default = "no_arguments")]
    pub(crate) arguments: Value,
    pub(crate) call_id: Option<String>,
    pub(crate) namespace: Option<String>,
}

/// A call of a free-form tool.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CustomCall {
    #[serde(rename = "custom_call")]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) input: String,
    pub(crate) call_id: Option<String>,
}

/// What an obedient model does.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Auto {
    /// What it says when nothing else is asked for.
    #[serde(rename = "auto")]
    pub(crate) words: String,
}

/// Token counts that the answer reports; what is absent is computed from bytes.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Usage {
    pub(crate) input_tokens: Option<u64>,
    pub(crate) cached_tokens: Option<u64>,
    pub(crate) output_tokens: Option<u64>,
    pub(crate) reasoning_tokens: Option<u64>,
}

/// An answer that is an HTTP status instead of a stream.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Status {
    #[serde(deserialize_with = "super::head::error_status")]
    pub(crate) status: StatusCode,
    /// Members of the error object, over those that the status brings along.
    #[serde(default)]
    pub(crate) error: Map<String, Value>,
    /// The whole body instead of an error object.
    pub(crate) body: Option<String>,
    #[serde(default)]
    pub(crate) head: Head,
}

/// An end with `response.failed`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Failed {
    #[serde(rename = "failed")]
    pub(crate) code: String,
    pub(crate) message: Option<String>,
}

/// An end without a last event.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Cut {
    /// Half an event, then the connection is closed inside the body.
    Abort,
    /// The body ends as a whole one does, but `response.completed` never came.
    Clean,
}

fn no_arguments() -> Value {
    Value::Object(Map::new())
}
