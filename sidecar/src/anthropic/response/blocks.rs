//! The content blocks of an answer: events of a turn -> starts, deltas and ends of blocks. A stream writes these as they
//! are, and a message collects them.

use serde::Serialize;

use super::signature;
use crate::anthropic::request::ThinkingDisplay;
use crate::turn::{Event, ReasoningItem};

/// The caller of a tool: the model itself.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub(super) enum Caller {
    Direct,
}

/// A step of the content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockStep<'a> {
    /// A block begins.
    Start(BlockStart<'a>),
    /// The open block goes on.
    Delta(BlockDelta<'a>),
    /// The open block ends.
    Stop,
}

/// The beginning of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockStart<'a> {
    Text,
    Thinking,
    RedactedThinking { data: &'a str },
    ToolUse { id: &'a str, name: &'a str },
}

/// A part of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum BlockDelta<'a> {
    Text(&'a str),
    Thinking(&'a str),
    Signature(&'a str),
    /// The arguments of a call as the model wrote them.
    Arguments(&'a str),
}

/// The content of an answer so far.
#[derive(Debug)]
pub(super) struct ContentBlocks {
    thinking: ThinkingDisplay,
    open: Option<OpenBlock>,
    /// Characters of the output, for an estimate of the usage.
    chars: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum OpenBlock {
    Text,
    Thinking,
}

impl ContentBlocks {
    pub(super) fn new(thinking: ThinkingDisplay) -> Self {
        Self {
            thinking,
            open: None,
            chars: 0,
        }
    }

    /// Returns the characters of the output.
    pub(super) fn chars(&self) -> usize {
        self.chars
    }

    /// Passes the steps of an event to `write`.
    pub(super) fn on_event(&mut self, event: &Event, write: &mut impl FnMut(BlockStep<'_>)) {
        match event {
            Event::Heartbeat | Event::Used(_) | Event::MessagePhase(_) => {}
            Event::Text(delta) => self.on_text(delta, write),
            Event::MessageEnded => self.close_text(write),
            Event::Reasoning(delta) => self.on_reasoning(delta, write),
            // The parts of the summary become paragraphs of one text.
            Event::ReasoningPartAdded => self.on_reasoning("\n\n", write),
            Event::ReasoningItem(item) => self.on_reasoning_item(item, write),
            Event::ToolCall(call) => {
                self.close(write);
                self.chars += call.name.chars().count() + call.arguments.chars().count();
                write(BlockStep::Start(BlockStart::ToolUse {
                    id: &call.call_id,
                    name: &call.name,
                }));
                write(BlockStep::Delta(BlockDelta::Arguments(&call.arguments)));
                write(BlockStep::Stop);
            }
            Event::Finished(_) => self.close(write),
        }
    }

    fn on_text(&mut self, delta: &str, write: &mut impl FnMut(BlockStep<'_>)) {
        // The API does not accept an empty text block, which the client would return with the conversation.
        if delta.is_empty() {
            return;
        }
        self.chars += delta.chars().count();
        if self.open != Some(OpenBlock::Text) {
            self.close(write);
            write(BlockStep::Start(BlockStart::Text));
            self.open = Some(OpenBlock::Text);
        }
        write(BlockStep::Delta(BlockDelta::Text(delta)));
    }

    fn on_reasoning(&mut self, delta: &str, write: &mut impl FnMut(BlockStep<'_>)) {
        self.chars += delta.chars().count();
        if self.thinking != ThinkingDisplay::Summarized {
            return;
        }
        self.open_thinking(write);
        write(BlockStep::Delta(BlockDelta::Thinking(delta)));
    }

    fn on_reasoning_item(&mut self, item: &ReasoningItem, write: &mut impl FnMut(BlockStep<'_>)) {
        let encrypted = item.encrypted_content.as_deref();
        let is_open = self.open == Some(OpenBlock::Thinking);
        match (self.thinking, encrypted) {
            (ThinkingDisplay::Off, _) => {}
            // Nothing to show, and nothing to return.
            (_, None) if !is_open => {}
            (ThinkingDisplay::Summarized, Some(_)) if !is_open => {
                self.close(write);
                let data = signature::write(encrypted);
                write(BlockStep::Start(BlockStart::RedactedThinking {
                    data: &data,
                }));
                write(BlockStep::Stop);
            }
            (ThinkingDisplay::Summarized | ThinkingDisplay::Omitted, _) => {
                self.open_thinking(write);
                self.end_thinking(encrypted, write);
            }
        }
    }

    fn open_thinking(&mut self, write: &mut impl FnMut(BlockStep<'_>)) {
        if self.open != Some(OpenBlock::Thinking) {
            self.close(write);
            write(BlockStep::Start(BlockStart::Thinking));
            self.open = Some(OpenBlock::Thinking);
        }
    }

    fn end_thinking(&mut self, encrypted: Option<&str>, write: &mut impl FnMut(BlockStep<'_>)) {
        let signature = signature::write(encrypted);
        write(BlockStep::Delta(BlockDelta::Signature(&signature)));
        write(BlockStep::Stop);
        self.open = None;
    }

    fn close_text(&mut self, write: &mut impl FnMut(BlockStep<'_>)) {
        if self.open == Some(OpenBlock::Text) {
            self.close(write);
        }
    }

    /// Closes the open block. Thinking that ends without its item has a signature without reasoning.
    fn close(&mut self, write: &mut impl FnMut(BlockStep<'_>)) {
        match self.open.take() {
            None => {}
            Some(OpenBlock::Text) => write(BlockStep::Stop),
            Some(OpenBlock::Thinking) => self.end_thinking(None, write),
        }
    }
}
