//! What the answers of both completion dialects are made of: identity, text, usage, the frames of a stream.
//! OpenAI API reference, "Chat completion chunk" and "The completion object"; they differ in their choices only.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use super::delivery::Delivery;
use super::error::ApiError;
use super::id::{fresh_id, unix_seconds};
use crate::openai::request::body::Ignored;
use crate::turn::{ClientTurn, Event, FinishReason, Outcome, TruncationRules, Usage};

/// What the answer needs to know of the request.
#[derive(Debug)]
pub struct Reply {
    /// How to answer.
    pub delivery: Delivery,
    /// Fields that were read and not honoured.
    pub ignored: Ignored,
    /// Where the text ends before the model does.
    pub cut: TruncationRules,
    /// The id that the client chose for the model.
    pub model_id: String,
    /// For the operator's limit, and for the estimate of a usage that Codex does not report.
    pub prompt_chars: usize,
}

/// The text of a refusal. Codex reports a refusal only as a turn without output.
pub(in crate::openai) const NO_ANSWER: &str =
    "The model gave no answer; it may have refused. Codex does not pass on its words.";

/// What never changes within an answer.
#[derive(Serialize)]
pub(in crate::openai) struct Identity<'a> {
    id: String,
    object: &'static str,
    created: u64,
    model: &'a str,
}

impl<'a> Identity<'a> {
    /// A new answer of this kind, whose id begins with `prefix`.
    pub(in crate::openai) fn new(prefix: &str, object: &'static str, reply: &'a Reply) -> Self {
        Self {
            id: fresh_id(prefix),
            object,
            created: unix_seconds(),
            model: &reply.model_id,
        }
    }
}

/// The frames of one stream.
#[derive(Debug)]
pub(in crate::openai) struct Frames {
    /// `data: {"id":…,"object":…,"created":…,"model":…,"choices":[`, the same for every frame.
    head: Vec<u8>,
    include_usage: bool,
    prompt_chars: usize,
}

impl Frames {
    pub(in crate::openai) fn new(identity: &Identity<'_>, reply: &Reply) -> Self {
        let mut head = b"data: ".to_vec();
        head.extend(to_json(identity));
        head.pop();
        head.extend_from_slice(b",\"choices\":[");
        Self {
            head,
            include_usage: reply.delivery
                == Delivery::Stream {
                    include_usage: true,
                },
            prompt_chars: reply.prompt_chars,
        }
    }

    /// A frame with one choice.
    pub(in crate::openai) fn write(&self, choice: &impl Serialize, out: &mut BytesMut) {
        out.extend_from_slice(&self.head);
        serde_json::to_writer(out.writer(), choice)
            .expect("our shapes always serialise into memory");
        out.extend_from_slice(b"],\"usage\":null}\n\n");
    }

    /// What follows the frame with the finish reason.
    pub(in crate::openai) fn write_end(
        &self,
        usage: Option<Usage>,
        text: &Text,
        out: &mut BytesMut,
    ) {
        if self.include_usage {
            let usage = text.usage(usage, self.prompt_chars);
            out.extend_from_slice(&self.head);
            out.extend_from_slice(b"],\"usage\":");
            out.extend_from_slice(&to_json(&usage));
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    /// What ends a stream that failed.
    pub(in crate::openai) fn write_error(error: &ApiError, out: &mut BytesMut) {
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&error.body());
        out.extend_from_slice(b"\n\n");
    }

    /// What every frame with a choice begins with, for tests that make it stable.
    #[cfg(test)]
    pub(in crate::openai) fn head(&self) -> String {
        String::from_utf8(self.head.clone()).unwrap()
    }
}

/// The answer's text so far: two messages of one turn are parted by a blank line.
#[derive(Debug, Default)]
pub(in crate::openai) struct Text {
    chars: usize,
    /// A message has ended, and whatever text comes next needs the blank line.
    parted: bool,
}

impl Text {
    /// What `piece` is in the one text that clients read.
    pub(in crate::openai) fn push<'a>(&mut self, piece: &'a str) -> Cow<'a, str> {
        let parted = std::mem::take(&mut self.parted) && self.chars > 0;
        self.chars += piece.chars().count();
        if parted {
            format!("\n\n{piece}").into()
        } else {
            piece.into()
        }
    }

    pub(in crate::openai) fn end_message(&mut self) {
        self.parted = true;
    }

    /// What Codex reported, or an estimate.
    pub(in crate::openai) fn usage(
        &self,
        reported: Option<Usage>,
        prompt_chars: usize,
    ) -> UsageBody {
        let usage = reported.unwrap_or_else(|| Usage::estimate(prompt_chars, self.chars));
        usage.into()
    }
}

#[derive(Serialize)]
pub(in crate::openai) struct UsageBody {
    prompt_tokens: u64,
    completion_tokens: u64,
    total_tokens: u64,
    prompt_tokens_details: PromptDetails,
    completion_tokens_details: CompletionDetails,
}

#[derive(Serialize)]
struct PromptDetails {
    cached_tokens: u64,
}

#[derive(Serialize)]
struct CompletionDetails {
    reasoning_tokens: u64,
}

impl From<Usage> for UsageBody {
    fn from(usage: Usage) -> Self {
        Self {
            prompt_tokens: usage.input_tokens,
            completion_tokens: usage.output_tokens,
            total_tokens: usage.total_tokens(),
            prompt_tokens_details: PromptDetails {
                cached_tokens: usage.cached_input_tokens,
            },
            completion_tokens_details: CompletionDetails {
                reasoning_tokens: usage.reasoning_tokens,
            },
        }
    }
}

/// Hands the events of a turn to `push`, and returns how it ended.
pub(in crate::openai) async fn outcome(
    mut turn: ClientTurn,
    mut push: impl FnMut(&Event),
) -> Outcome {
    while let Some(event) = turn.next().await {
        push(&event);
        if let Event::Finished(outcome) = event {
            return outcome;
        }
    }
    Outcome::Interrupted
}

pub(crate) fn finish_reason(stop: FinishReason) -> &'static str {
    match stop {
        FinishReason::Stop | FinishReason::Refused => "stop",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::Length => "length",
        FinishReason::ContentFilter => "content_filter",
    }
}

pub(in crate::openai) fn to_json(value: &impl Serialize) -> Vec<u8> {
    serde_json::to_vec(value).expect("our shapes have string keys and no failing parts")
}
