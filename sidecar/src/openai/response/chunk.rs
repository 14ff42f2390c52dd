//! The parts that responses of chat and legacy completions share: identity, text, usage, and the chunks of a stream.
//! OpenAI API reference, "Chat completion chunk" and "The completion object"; the two differ in their choices only.

use std::borrow::Cow;

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use super::delivery::Delivery;
use super::error::{ApiError, outcome_error};
use super::field_names::FieldNames;
use super::id::{fresh_id, unix_seconds};
use super::json::to_json;
use super::options::ResponseOptions;
use crate::turn::{ClientTurn, Event, FinishReason, Outcome, Usage};

/// The fields that are the same in all chunks of a response.
#[derive(Serialize)]
pub(crate) struct CompletionIdentity<'a> {
    id: String,
    object: &'static str,
    created: u64,
    model: &'a str,
}

impl<'a> CompletionIdentity<'a> {
    /// Returns the identity of a new response; `prefix` is that of the id.
    pub(crate) fn new(prefix: &str, object: &'static str, options: &'a ResponseOptions) -> Self {
        Self {
            id: fresh_id(prefix),
            object,
            created: unix_seconds(),
            model: &options.model_id,
        }
    }
}

/// Writes the chunks of one stream as server-sent events.
#[derive(Debug)]
pub(crate) struct ChunkFrames {
    /// `data: {"id":…,"object":…,"created":…,"model":…,"choices":[`, serialized once for all chunks.
    head: Vec<u8>,
    include_usage: bool,
    prompt_chars: usize,
    context_window: Option<u64>,
}

impl ChunkFrames {
    pub(crate) fn new(identity: &CompletionIdentity<'_>, options: &ResponseOptions) -> Self {
        let mut head = b"data: ".to_vec();
        head.extend(to_json(identity));
        head.pop(); // The closing brace: `choices` and `usage` follow.
        head.extend_from_slice(b",\"choices\":[");
        Self {
            head,
            include_usage: options.delivery
                == Delivery::Stream {
                    include_usage: true,
                },
            prompt_chars: options.prompt_chars,
            context_window: options.context_window,
        }
    }

    /// Writes a chunk with one choice.
    pub(crate) fn write(&self, choice: &impl Serialize, out: &mut BytesMut) {
        out.extend_from_slice(&self.head);
        serde_json::to_writer(out.writer(), choice)
            .expect("these types always serialise into memory");
        out.extend_from_slice(b"],\"usage\":null}\n\n");
    }

    /// Writes the end of the stream, after the chunk with the finish reason.
    pub(crate) fn write_end(&self, usage: Option<Usage>, text: &MessageText, out: &mut BytesMut) {
        // OpenAI sends the usage in a chunk of its own, with empty `choices`.
        if self.include_usage {
            let usage = text.usage(usage, self.prompt_chars);
            out.extend_from_slice(&self.head);
            out.extend_from_slice(b"],\"usage\":");
            out.extend_from_slice(&to_json(&usage));
            out.extend_from_slice(b"}\n\n");
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
    }

    /// Writes the error that ends a failed stream. Without `[DONE]`, so that no client takes the text for complete.
    /// `names` are those of the request's fields.
    pub(crate) fn write_error(&self, outcome: &Outcome, names: &FieldNames, out: &mut BytesMut) {
        let Some(error) = outcome_error(outcome) else {
            return;
        };
        let error = error.in_format(names, self.context_window);
        out.extend_from_slice(b"data: ");
        out.extend_from_slice(&error.body());
        out.extend_from_slice(b"\n\n");
    }

    /// Returns the common start of all chunks, which tests replace because of the id and the time.
    #[cfg(test)]
    pub(crate) fn head(&self) -> String {
        String::from_utf8(self.head.clone()).unwrap()
    }
}

/// The text of a response so far. Messages of one turn are joined by a blank line, since a choice has one text.
#[derive(Debug, Default)]
pub(crate) struct MessageText {
    chars: usize,
    /// A message has ended, so a blank line goes before the next text.
    needs_separator: bool,
}

impl MessageText {
    /// Adds a delta, and returns the delta with the blank line before it where one is needed.
    pub(crate) fn push<'a>(&mut self, delta: &'a str) -> Cow<'a, str> {
        let separate = std::mem::take(&mut self.needs_separator) && self.chars > 0;
        self.chars += delta.chars().count();
        if separate {
            format!("\n\n{delta}").into()
        } else {
            delta.into()
        }
    }

    /// Ends the current message.
    pub(crate) fn end_message(&mut self) {
        self.needs_separator = true;
    }

    /// Returns the usage that Codex reported, or an estimate.
    pub(crate) fn usage(&self, reported: Option<Usage>, prompt_chars: usize) -> CompletionUsage {
        let usage = reported.unwrap_or_else(|| Usage::estimate(prompt_chars, self.chars));
        usage.into()
    }
}

#[derive(Serialize)]
pub(crate) struct CompletionUsage {
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

impl From<Usage> for CompletionUsage {
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

/// A completion object that is built from the events of a turn.
pub(crate) trait CompletionObject {
    /// Adds an event.
    fn on_event(&mut self, event: &Event);
    /// Returns the body of the response.
    fn into_json(
        self,
        options: &ResponseOptions,
        reason: FinishReason,
        usage: Option<Usage>,
    ) -> Vec<u8>;
}

/// Runs a turn to its end, and returns `object` as the body of the response; `names` are those of the request's fields.
///
/// # Errors
/// The error of a turn that did not complete. The incomplete output is dropped.
pub(crate) async fn collect_object(
    mut object: impl CompletionObject,
    options: &ResponseOptions,
    mut turn: ClientTurn,
    names: &FieldNames,
) -> Result<Vec<u8>, ApiError> {
    while let Some(event) = turn.next().await {
        object.on_event(&event);
        match event {
            Event::Finished(Outcome::Completed { stop, usage }) => {
                return Ok(object.into_json(options, stop, usage));
            }
            Event::Finished(outcome @ (Outcome::Interrupted | Outcome::Failed(_))) => {
                let error = outcome_error(&outcome).unwrap_or_else(ApiError::shutting_down);
                return Err(error.in_format(names, options.context_window));
            }
            _ => {}
        }
    }
    Err(ApiError::shutting_down())
}

/// Returns OpenAI's `finish_reason`. A refusal counts as `stop`, as with OpenAI.
pub(crate) fn finish_reason(reason: FinishReason) -> &'static str {
    match reason {
        FinishReason::Stop | FinishReason::StopSequence(_) | FinishReason::Refused => "stop",
        FinishReason::ToolCalls => "tool_calls",
        FinishReason::Length | FinishReason::Budget(_) => "length",
        FinishReason::ContentFilter => "content_filter",
    }
}
