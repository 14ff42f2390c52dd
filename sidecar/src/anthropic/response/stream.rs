//! The answer as events of a stream.
//! Anthropic API reference, "Streaming Messages".

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use super::blocks::{BlockDelta, BlockStart, BlockStep, Caller, ContentBlocks};
use super::message::ID_PREFIX;
use super::stop::StopFields;
use super::tool_input;
use super::usage::MessageUsage;
use crate::anthropic::error::{error_body, in_words};
use crate::anthropic::request::MessageSpec;
use crate::openai::EventFrames;
use crate::openai::response::error::outcome_error;
use crate::openai::response::id::fresh_id;
use crate::turn::{Event, FinishReason, Outcome, Usage};

/// Writes the events of a stream.
#[derive(Debug)]
pub struct MessageWriter {
    spec: MessageSpec,
    id: String,
    request_id: Option<String>,
    blocks: ContentBlocks,
    /// The index of the open block, or of the next one.
    index: usize,
}

/// An event; `type` repeats the name of the frame.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum StreamEvent<'a> {
    MessageStart {
        message: StartedMessage<'a>,
    },
    ContentBlockStart {
        index: usize,
        content_block: StartedBlock<'a>,
    },
    ContentBlockDelta {
        index: usize,
        delta: StreamDelta<'a>,
    },
    ContentBlockStop {
        index: usize,
    },
    MessageDelta {
        delta: StopFields<'a>,
        usage: MessageUsage,
    },
    MessageStop,
}

/// The message before its content.
#[derive(Serialize)]
struct StartedMessage<'a> {
    id: &'a str,
    r#type: &'static str,
    role: &'static str,
    model: &'a str,
    content: [(); 0],
    stop_reason: Option<()>,
    stop_sequence: Option<()>,
    stop_details: Option<()>,
    /// An estimate of the prompt; the last event has the counts of the provider.
    usage: MessageUsage,
    container: Option<()>,
}

#[derive(Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum StartedBlock<'a> {
    Text {
        text: &'static str,
        citations: Option<()>,
    },
    Thinking {
        thinking: &'static str,
        signature: &'static str,
    },
    RedactedThinking {
        data: &'a str,
    },
    ToolUse {
        id: &'a str,
        name: &'a str,
        input: EmptyInput,
        caller: Caller,
    },
}

/// The input of a call that begins, `{}`.
#[derive(Serialize)]
struct EmptyInput {}

#[derive(Serialize)]
#[serde(tag = "type")]
enum StreamDelta<'a> {
    #[serde(rename = "text_delta")]
    Text { text: &'a str },
    #[serde(rename = "thinking_delta")]
    Thinking { thinking: &'a str },
    #[serde(rename = "signature_delta")]
    Signature { signature: &'a str },
    #[serde(rename = "input_json_delta")]
    InputJson { partial_json: &'a str },
}

impl StreamEvent<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::MessageStart { .. } => "message_start",
            Self::ContentBlockStart { .. } => "content_block_start",
            Self::ContentBlockDelta { .. } => "content_block_delta",
            Self::ContentBlockStop { .. } => "content_block_stop",
            Self::MessageDelta { .. } => "message_delta",
            Self::MessageStop => "message_stop",
        }
    }

    fn write(&self, out: &mut BytesMut) {
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(self.name().as_bytes());
        out.extend_from_slice(b"\ndata: ");
        serde_json::to_writer(out.writer(), self)
            .expect("these types always serialise into memory");
        out.extend_from_slice(b"\n\n");
    }
}

impl MessageWriter {
    /// Returns the writer of one response to the request with this id.
    pub fn new(spec: MessageSpec, request_id: Option<String>) -> Self {
        Self {
            id: fresh_id(ID_PREFIX),
            request_id,
            blocks: ContentBlocks::new(spec.thinking),
            index: 0,
            spec,
        }
    }

    fn write_end(&self, reason: FinishReason, usage: Option<Usage>, out: &mut BytesMut) {
        let options = &self.spec.options;
        let usage =
            usage.unwrap_or_else(|| Usage::estimate(options.prompt_chars, self.blocks.chars()));
        let delta = StreamEvent::MessageDelta {
            delta: StopFields::new(reason, &options.truncation.stop),
            usage: usage.into(),
        };
        delta.write(out);
        StreamEvent::MessageStop.write(out);
    }

    /// Writes the error that ends a failed stream. Without `message_stop`, so that no client takes the text for complete.
    fn write_error(&self, outcome: &Outcome, out: &mut BytesMut) {
        let Some(error) = outcome_error(outcome) else {
            return;
        };
        let options = &self.spec.options;
        let error = in_words(error, options.context_window, options.prompt_chars);
        out.extend_from_slice(b"event: error\ndata: ");
        out.extend_from_slice(&error_body(&error, self.request_id.as_deref()));
        out.extend_from_slice(b"\n\n");
    }
}

impl EventFrames for MessageWriter {
    const KEEPALIVE: &'static [u8] = b"event: ping\ndata: {\"type\":\"ping\"}\n\n";

    fn write_start(&mut self, out: &mut BytesMut) {
        let options = &self.spec.options;
        let message = StartedMessage {
            id: &self.id,
            r#type: "message",
            role: "assistant",
            model: &options.model_id,
            content: [],
            stop_reason: None,
            stop_sequence: None,
            stop_details: None,
            usage: Usage::estimate(options.prompt_chars, 0).into(),
            container: None,
        };
        StreamEvent::MessageStart { message }.write(out);
    }

    fn write(&mut self, event: &Event, out: &mut BytesMut) {
        // Before the blocks are closed: the content of a failed turn stays open, as it is not complete.
        if let Event::Finished(outcome @ (Outcome::Interrupted | Outcome::Failed(_))) = event {
            return self.write_error(outcome, out);
        }
        let index = &mut self.index;
        self.blocks
            .on_event(event, &mut |step| write_step(step, index, out));
        if let Event::Finished(Outcome::Completed { stop, usage }) = event {
            self.write_end(*stop, *usage, out);
        }
    }
}

fn write_step(step: BlockStep<'_>, index: &mut usize, out: &mut BytesMut) {
    match step {
        BlockStep::Start(start) => StreamEvent::ContentBlockStart {
            index: *index,
            content_block: start.into(),
        }
        .write(out),
        BlockStep::Delta(BlockDelta::Arguments(arguments)) => {
            let input = tool_input::write(arguments);
            let delta = StreamDelta::InputJson {
                partial_json: input.get(),
            };
            write_delta(*index, delta, out);
        }
        BlockStep::Delta(BlockDelta::Text(text)) => {
            write_delta(*index, StreamDelta::Text { text }, out);
        }
        BlockStep::Delta(BlockDelta::Thinking(thinking)) => {
            write_delta(*index, StreamDelta::Thinking { thinking }, out);
        }
        BlockStep::Delta(BlockDelta::Signature(signature)) => {
            write_delta(*index, StreamDelta::Signature { signature }, out);
        }
        BlockStep::Stop => {
            StreamEvent::ContentBlockStop { index: *index }.write(out);
            *index += 1;
        }
    }
}

fn write_delta(index: usize, delta: StreamDelta<'_>, out: &mut BytesMut) {
    StreamEvent::ContentBlockDelta { index, delta }.write(out);
}

impl<'a> From<BlockStart<'a>> for StartedBlock<'a> {
    fn from(start: BlockStart<'a>) -> Self {
        match start {
            BlockStart::Text => Self::Text {
                text: "",
                citations: None,
            },
            BlockStart::Thinking => Self::Thinking {
                thinking: "",
                signature: "",
            },
            BlockStart::RedactedThinking { data } => Self::RedactedThinking { data },
            BlockStart::ToolUse { id, name } => Self::ToolUse {
                id,
                name,
                input: EmptyInput {},
                caller: Caller::Direct,
            },
        }
    }
}
