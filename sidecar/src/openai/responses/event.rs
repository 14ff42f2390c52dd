//! The events of a stream in wire format, with their types and fields.
//! OpenAI API reference, "Responses streaming events"; `error` has the shape of Open Responses as well.

use bytes::{BufMut, BytesMut};
use serde::Serialize;

use super::item::{ItemBody, PartBody};
use super::object::ResponseBody;
use crate::openai::response::error::{self, ApiError};

/// An event without its type and number.
#[derive(Serialize)]
#[serde(untagged)]
pub(super) enum StreamEvent<'a> {
    /// An event that carries the whole response.
    Response {
        // The name is `type` in `EventFrame`.
        #[serde(skip)]
        name: &'static str,
        response: &'a ResponseBody<'a>,
    },
    ItemAdded {
        output_index: usize,
        item: &'a ItemBody,
    },
    ItemDone {
        output_index: usize,
        item: &'a ItemBody,
    },
    PartAdded {
        #[serde(flatten)]
        at: ContentPosition<'a>,
        part: &'a PartBody,
    },
    PartDone {
        #[serde(flatten)]
        at: ContentPosition<'a>,
        part: &'a PartBody,
    },
    TextDelta {
        #[serde(flatten)]
        at: ContentPosition<'a>,
        delta: &'a str,
        logprobs: [(); 0],
    },
    TextDone {
        #[serde(flatten)]
        at: ContentPosition<'a>,
        text: &'a str,
        logprobs: [(); 0],
    },
    RefusalDelta {
        #[serde(flatten)]
        at: ContentPosition<'a>,
        delta: &'a str,
    },
    RefusalDone {
        #[serde(flatten)]
        at: ContentPosition<'a>,
        refusal: &'a str,
    },
    SummaryPartAdded {
        #[serde(flatten)]
        at: SummaryPosition<'a>,
        part: &'a PartBody,
    },
    SummaryPartDone {
        #[serde(flatten)]
        at: SummaryPosition<'a>,
        part: &'a PartBody,
    },
    SummaryDelta {
        #[serde(flatten)]
        at: SummaryPosition<'a>,
        delta: &'a str,
    },
    SummaryDone {
        #[serde(flatten)]
        at: SummaryPosition<'a>,
        text: &'a str,
    },
    CustomInputDelta {
        item_id: &'a str,
        output_index: usize,
        delta: &'a str,
    },
    CustomInputDone {
        item_id: &'a str,
        output_index: usize,
        input: &'a str,
    },
    ArgumentsDelta {
        item_id: &'a str,
        output_index: usize,
        delta: &'a str,
    },
    ArgumentsDone {
        item_id: &'a str,
        output_index: usize,
        name: &'a str,
        arguments: &'a str,
    },
    /// OpenAI documents the fields at the top level; Open Responses and the SDKs read them in `error`.
    Error {
        code: &'a str,
        message: &'a str,
        param: Option<&'a str>,
        error: error::ErrorFields<'a>,
    },
}

/// The position of a content part.
#[derive(Clone, Copy, Serialize)]
pub(super) struct ContentPosition<'a> {
    item_id: &'a str,
    output_index: usize,
    content_index: usize,
}

/// The position of a summary part.
#[derive(Clone, Copy, Serialize)]
pub(super) struct SummaryPosition<'a> {
    item_id: &'a str,
    output_index: usize,
    summary_index: usize,
}

impl<'a> ContentPosition<'a> {
    /// Returns the position of the only content part of a message.
    pub(super) fn first(item_id: &'a str, output_index: usize) -> Self {
        Self {
            item_id,
            output_index,
            content_index: 0,
        }
    }
}

impl<'a> SummaryPosition<'a> {
    pub(super) fn new(item_id: &'a str, output_index: usize, summary_index: usize) -> Self {
        Self {
            item_id,
            output_index,
            summary_index,
        }
    }
}

#[derive(Serialize)]
struct EventFrame<'a> {
    r#type: &'static str,
    sequence_number: u64,
    #[serde(flatten)]
    event: &'a StreamEvent<'a>,
}

impl StreamEvent<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Response { name, .. } => name,
            Self::ItemAdded { .. } => "response.output_item.added",
            Self::ItemDone { .. } => "response.output_item.done",
            Self::PartAdded { .. } => "response.content_part.added",
            Self::PartDone { .. } => "response.content_part.done",
            Self::TextDelta { .. } => "response.output_text.delta",
            Self::TextDone { .. } => "response.output_text.done",
            Self::RefusalDelta { .. } => "response.refusal.delta",
            Self::RefusalDone { .. } => "response.refusal.done",
            Self::SummaryPartAdded { .. } => "response.reasoning_summary_part.added",
            Self::SummaryPartDone { .. } => "response.reasoning_summary_part.done",
            Self::SummaryDelta { .. } => "response.reasoning_summary_text.delta",
            Self::SummaryDone { .. } => "response.reasoning_summary_text.done",
            Self::CustomInputDelta { .. } => "response.custom_tool_call_input.delta",
            Self::CustomInputDone { .. } => "response.custom_tool_call_input.done",
            Self::ArgumentsDelta { .. } => "response.function_call_arguments.delta",
            Self::ArgumentsDone { .. } => "response.function_call_arguments.done",
            Self::Error { .. } => "error",
        }
    }
}

/// Writes events with consecutive sequence numbers.
#[derive(Debug, Default)]
pub(super) struct SequencedEvents {
    next: u64,
    silent: bool,
}

impl SequencedEvents {
    /// Discards all further events: a buffered response has no stream.
    pub(super) fn silence(&mut self) {
        self.silent = true;
    }

    pub(super) fn write(&mut self, event: &StreamEvent<'_>, out: &mut BytesMut) {
        if self.silent {
            return; // Before the serialization, which is the cost.
        }
        let frame = EventFrame {
            r#type: event.name(),
            sequence_number: self.next,
            event,
        };
        self.next += 1;
        out.extend_from_slice(b"event: ");
        out.extend_from_slice(frame.r#type.as_bytes());
        out.extend_from_slice(b"\ndata: ");
        serde_json::to_writer(out.writer(), &frame)
            .expect("these types always serialise into memory");
        out.extend_from_slice(b"\n\n");
    }

    /// Writes the last events: the whole response, and the error of a failed one.
    pub(super) fn end(
        mut self,
        response: &ResponseBody<'_>,
        error: Option<&ApiError>,
        out: &mut BytesMut,
    ) {
        let name = response.status.event();
        self.write(&StreamEvent::Response { name, response }, out);
        if let Some(error) = error.map(ApiError::fields) {
            let error = StreamEvent::Error {
                code: error.code,
                message: error.message,
                param: error.param,
                error,
            };
            self.write(&error, out);
        }
    }
}
