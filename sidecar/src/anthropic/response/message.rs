//! The answer as one message.
//! Anthropic API reference, "The Message object".

use serde::Serialize;
use serde_json::value::RawValue;

use super::blocks::{BlockDelta, BlockStart, BlockStep, Caller, ContentBlocks};
use super::stop::StopFields;
use super::tool_input;
use super::usage::MessageUsage;
use crate::anthropic::error::in_words;
use crate::anthropic::request::MessageSpec;
use crate::openai::ApiError;
use crate::openai::response::error::outcome_error;
use crate::openai::response::id::fresh_id;
use crate::openai::response::json::to_json;
use crate::turn::{ClientTurn, Event, FinishReason, Outcome, Usage};

/// Prefix of the ids.
pub(super) const ID_PREFIX: &str = "msg_";

#[derive(Serialize)]
struct MessageBody<'a> {
    id: String,
    r#type: &'static str,
    role: &'static str,
    model: &'a str,
    content: &'a [ContentBlock],
    #[serde(flatten)]
    stop: StopFields<'a>,
    usage: MessageUsage,
    container: Option<()>,
}

/// A block of the content.
#[derive(Debug, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
enum ContentBlock {
    Text {
        text: String,
        citations: Option<()>,
    },
    Thinking {
        thinking: String,
        signature: String,
    },
    RedactedThinking {
        data: String,
    },
    ToolUse {
        id: String,
        name: String,
        input: Box<RawValue>,
        caller: Caller,
    },
}

/// Collects a turn into the body of one message.
///
/// # Errors
/// The error of a turn that did not complete. The incomplete output is dropped.
pub async fn collect(spec: &MessageSpec, mut turn: ClientTurn) -> Result<Vec<u8>, ApiError> {
    let mut message = BufferedMessage::new(spec);
    while let Some(event) = turn.next().await {
        message.on_event(&event);
        match event {
            Event::Finished(Outcome::Completed { stop, usage }) => {
                return Ok(message.into_json(stop, usage));
            }
            Event::Finished(outcome @ (Outcome::Interrupted | Outcome::Failed(_))) => {
                let error = outcome_error(&outcome).unwrap_or_else(ApiError::shutting_down);
                let options = &spec.options;
                return Err(in_words(
                    error,
                    options.context_window,
                    options.prompt_chars,
                ));
            }
            _ => {}
        }
    }
    Err(ApiError::shutting_down())
}

/// The output of a turn so far.
pub(super) struct BufferedMessage<'a> {
    spec: &'a MessageSpec,
    blocks: ContentBlocks,
    content: Vec<ContentBlock>,
}

impl<'a> BufferedMessage<'a> {
    pub(super) fn new(spec: &'a MessageSpec) -> Self {
        Self {
            spec,
            blocks: ContentBlocks::new(spec.thinking),
            content: Vec::new(),
        }
    }

    pub(super) fn on_event(&mut self, event: &Event) {
        let content = &mut self.content;
        self.blocks.on_event(event, &mut |step| match step {
            BlockStep::Start(start) => content.push(start.into()),
            BlockStep::Delta(delta) => {
                if let Some(block) = content.last_mut() {
                    block.extend(delta);
                }
            }
            BlockStep::Stop => {}
        });
    }

    pub(super) fn into_json(self, stop: FinishReason, usage: Option<Usage>) -> Vec<u8> {
        let options = &self.spec.options;
        let usage =
            usage.unwrap_or_else(|| Usage::estimate(options.prompt_chars, self.blocks.chars()));
        to_json(&MessageBody {
            id: fresh_id(ID_PREFIX),
            r#type: "message",
            role: "assistant",
            model: &options.model_id,
            content: &self.content,
            stop: StopFields::new(stop, &options.truncation.stop),
            usage: usage.into(),
            container: None,
        })
    }
}

impl From<BlockStart<'_>> for ContentBlock {
    fn from(start: BlockStart<'_>) -> Self {
        match start {
            BlockStart::Text => Self::Text {
                text: String::new(),
                citations: None,
            },
            BlockStart::Thinking => Self::Thinking {
                thinking: String::new(),
                signature: String::new(),
            },
            BlockStart::RedactedThinking { data } => Self::RedactedThinking {
                data: data.to_owned(),
            },
            BlockStart::ToolUse { id, name } => Self::ToolUse {
                id: id.to_owned(),
                name: name.to_owned(),
                input: tool_input::write(""),
                caller: Caller::Direct,
            },
        }
    }
}

impl ContentBlock {
    fn extend(&mut self, delta: BlockDelta<'_>) {
        match (self, delta) {
            (Self::Text { text, .. }, BlockDelta::Text(delta)) => text.push_str(delta),
            (Self::Thinking { thinking, .. }, BlockDelta::Thinking(delta)) => {
                thinking.push_str(delta);
            }
            (Self::Thinking { signature, .. }, BlockDelta::Signature(sent)) => {
                sent.clone_into(signature);
            }
            (Self::ToolUse { input, .. }, BlockDelta::Arguments(arguments)) => {
                *input = tool_input::write(arguments);
            }
            // A delta has the type of its block.
            (
                Self::Text { .. }
                | Self::Thinking { .. }
                | Self::RedactedThinking { .. }
                | Self::ToolUse { .. },
                _,
            ) => {}
        }
    }
}
