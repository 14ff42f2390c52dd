//! Scripts as types, arranged so that every script can be played.
//! The steps are those of the table in the docs of `scripted_model`; `parse` reads and arranges them.

use std::num::NonZeroUsize;
use std::time::Duration;

use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::head::ResponseHead;

/// The response to one request.
#[derive(Clone, Debug)]
pub struct Script {
    /// Pauses before the response head.
    pub(crate) before: Vec<Wait>,
    pub(crate) response: ScriptedResponse,
}

/// An error response or a stream.
#[derive(Clone, Debug)]
pub(crate) enum ScriptedResponse {
    Status(ErrorStep),
    Stream {
        head: ResponseHead,
        actions: Vec<ModelAction>,
        end: StreamEnd,
    },
}

/// A pause.
#[derive(Clone, Debug)]
pub(crate) enum Wait {
    Pause(Duration),
    /// Until a test releases the name.
    Hold(String),
}

/// An action of the model in a stream.
#[derive(Clone, Debug)]
pub(crate) enum ModelAction {
    Wait(Wait),
    Message(MessageStep, Pace),
    Reasoning(ReasoningStep, Pace),
    Call(CallStep, Pace),
    CustomCall(CustomCallStep, Pace),
    Auto(AutoStep, Pace),
    Usage(UsageStep),
}

/// The end of a stream.
#[derive(Clone, Debug)]
pub(crate) enum StreamEnd {
    Completed,
    Incomplete(String),
    Failed(FailedStep),
    Cut(CutKind),
}

/// The size of the deltas of a text, the pause between them, and the writes to the socket.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct Pace {
    /// Characters of a delta; if absent, the whole text is one delta.
    pub(crate) delta_chars: Option<NonZeroUsize>,
    /// Milliseconds between two deltas.
    pub(crate) delay_ms: u64,
    pub(crate) writes: WriteMode,
}

/// The division of events into writes to the socket.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WriteMode {
    /// A write for each event.
    #[default]
    PerEvent,
    /// As few writes as possible.
    Burst,
    /// Chunks of this many bytes, which may split a line or a character.
    Bytes(NonZeroUsize),
}

/// A message of the assistant, or a part of one.
#[derive(Clone, Debug)]
pub(crate) struct MessageStep {
    pub(crate) content: MessageContent,
    pub(crate) options: MessageOptions,
}

/// The content of a message.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MessageContent {
    Text(String),
    Chars(usize),
    Echo(EchoPart),
    Refusal(String),
}

/// The part of the request that an `echo` step sends back.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EchoPart {
    Input,
    Tools,
    Headers,
    Body,
}

/// The options of a message.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct MessageOptions {
    pub(crate) phase: Option<MessagePhase>,
    /// Whether the message stays open: the next message step continues it, or the stream is cut.
    pub(crate) open: bool,
    /// Whether the text comes without deltas: in the `response.output_item.done` event only.
    pub(crate) whole: bool,
}

/// The phase of a message: commentary during the turn, or the final text.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum MessagePhase {
    Commentary,
    FinalAnswer,
}

/// A reasoning item: summary parts, raw text, and the provider's encrypted content.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ReasoningStep {
    #[serde(rename = "reasoning")]
    pub(crate) summary: Vec<String>,
    pub(crate) raw: Option<String>,
    pub(crate) encrypted_content: Option<String>,
}

/// A call of a function tool.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CallStep {
    #[serde(rename = "call")]
    pub(crate) name: String,
    /// A string is sent unchanged, so that invalid JSON is possible; other values as compact JSON.
    #[serde(default = "no_arguments")]
    pub(crate) arguments: Value,
    pub(crate) call_id: Option<String>,
    pub(crate) namespace: Option<String>,
}

/// A call of a free-form tool.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct CustomCallStep {
    #[serde(rename = "custom_call")]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) input: String,
    pub(crate) call_id: Option<String>,
}

/// The `auto` step.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AutoStep {
    /// The text if the request asks for neither a tool nor a schema.
    #[serde(rename = "auto")]
    pub(crate) words: String,
}

/// The reported token counts; absent counts are computed from bytes.
#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(crate) struct UsageStep {
    pub(crate) input_tokens: Option<u64>,
    pub(crate) cached_tokens: Option<u64>,
    pub(crate) output_tokens: Option<u64>,
    pub(crate) reasoning_tokens: Option<u64>,
}

/// An HTTP error instead of a stream.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ErrorStep {
    #[serde(deserialize_with = "super::head::error_status")]
    pub(crate) status: StatusCode,
    /// Fields of the error object; they replace the defaults of the status.
    #[serde(default)]
    pub(crate) error: Map<String, Value>,
    /// The whole body, instead of an error object.
    pub(crate) body: Option<String>,
    #[serde(default)]
    pub(crate) head: ResponseHead,
}

/// An end with `response.failed`.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct FailedStep {
    #[serde(rename = "failed")]
    pub(crate) code: String,
    pub(crate) message: Option<String>,
}

/// An end without a last event.
#[derive(Clone, Copy, Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum CutKind {
    /// Half an event, then the connection is closed inside the body.
    Abort,
    /// The body ends properly, but without `response.completed`.
    Clean,
}

fn no_arguments() -> Value {
    Value::Object(Map::new())
}
