//! The answer of a response: typed events of a stream, or one response object; and what is kept of it.
//! OpenAI API reference, "Responses streaming events" and "The response object".

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio_util::sync::CancellationToken;

use super::echo::Echo;
use super::event::StreamEvent;
use super::item::{ItemStatus, ResponseId};
use super::object::{ErrorBody, IncompleteDetails, ResponseBody, Status};
use super::output::Output;
use super::request::Reply;
use crate::openai::response::error::{ApiError, of_outcome};
use crate::openai::response::id::unix_seconds;
use crate::openai::response::options::NO_ANSWER;
use crate::openai::response::sse::EventFrames;
use crate::store::{ConversationNode, Record, Recording, ResponseStore};
use crate::turn::{ClientTurn, Event, FinishReason, Outcome, Usage};

/// Writes the events of a response, and keeps it when it is over.
#[derive(Debug)]
pub struct ResponseWriter {
    id: ResponseId,
    created_at: u64,
    echo: Echo,
    prompt_chars: usize,
    inputs: usize,
    before: Option<Arc<ConversationNode>>,
    output: Output,
    /// `None` for a response that is not stored, or is over.
    recording: Option<Recording>,
}

/// How a response ended.
struct End {
    status: Status,
    stop: Option<FinishReason>,
    usage: Option<Usage>,
    error: Option<ApiError>,
}

impl ResponseWriter {
    /// The writer of one response to `client`.
    pub fn new(reply: Reply, store: &Arc<ResponseStore>, client: &str) -> Self {
        let id = ResponseId::fresh();
        let mut writer = Self {
            created_at: unix_seconds(),
            echo: reply.echo,
            prompt_chars: reply.prompt_chars,
            inputs: reply.input.len(),
            before: reply.before,
            output: Output::new(id.clone(), reply.input, reply.encrypted_reasoning),
            recording: None,
            id,
        };
        if reply.store {
            let recording = store.begin(client, writer.id.as_str(), writer.in_progress());
            writer.recording = Some(recording);
        }
        writer
    }

    /// Fires when the client cancels the response.
    pub fn stop(&self) -> Option<CancellationToken> {
        let recording = self.recording.as_ref()?;
        Some(recording.stop().clone())
    }

    /// The response while it is made.
    pub fn in_progress(&self) -> Bytes {
        to_json(&self.body(Status::InProgress))
    }

    fn body(&self, status: Status) -> ResponseBody<'_> {
        ResponseBody {
            id: self.id.as_str(),
            object: "response",
            created_at: self.created_at,
            completed_at: None,
            status,
            error: None,
            incomplete_details: None,
            output: self.output.bodies(),
            usage: None,
            echo: &self.echo,
        }
    }

    /// Writes the end, keeps the response, and returns it, unless it failed.
    fn finish(&mut self, outcome: &Outcome, out: &mut BytesMut) -> Result<Bytes, ApiError> {
        let end = self.end(outcome);
        self.close(&end, out);
        let events = std::mem::take(&mut self.output.events);
        let usage = end.stop.map(|_| {
            let estimate = || Usage::estimate(self.prompt_chars, self.output.chars());
            end.usage.unwrap_or_else(estimate)
        });
        let body = ResponseBody {
            completed_at: (end.status == Status::Completed).then(unix_seconds),
            error: end.error.as_ref().map(ErrorBody::from),
            incomplete_details: end.stop.and_then(IncompleteDetails::of),
            usage: usage.map(Into::into),
            ..self.body(end.status)
        };
        events.end(&body, end.error.as_ref(), out);
        let document = to_json(&body);
        self.keep(document.clone(), end.status);
        match (end.status, end.error) {
            (Status::Failed, Some(error)) => Err(error),
            _ => Ok(document),
        }
    }

    fn end(&self, outcome: &Outcome) -> End {
        let is_cancelled = self.stop().is_some_and(|stop| stop.is_cancelled());
        let (status, stop, usage) = match outcome {
            Outcome::Completed { stop, usage } => {
                let is_whole = IncompleteDetails::of(*stop).is_none();
                let status = if is_whole {
                    Status::Completed
                } else {
                    Status::Incomplete
                };
                (status, Some(*stop), *usage)
            }
            Outcome::Interrupted if is_cancelled => (Status::Cancelled, None, None),
            Outcome::Interrupted | Outcome::Failed(_) => (Status::Failed, None, None),
        };
        let error = match status {
            Status::Cancelled => Some(ApiError::response_cancelled()),
            _ => of_outcome(outcome).map(|error| error.with_prompt_in("input")),
        };
        End {
            status,
            stop,
            usage,
            error,
        }
    }

    fn close(&mut self, end: &End, out: &mut BytesMut) {
        let status = match end.status {
            Status::Completed => ItemStatus::Completed,
            _ => ItemStatus::Incomplete,
        };
        self.output.close(status, out);
        if end.stop == Some(FinishReason::Refused) {
            self.output.refuse(NO_ANSWER, out);
        }
    }

    fn keep(&mut self, document: Bytes, status: Status) {
        if let Some(recording) = self.recording.take() {
            recording.keep(Record {
                document,
                before: self.before.take(),
                items: self.output.take_items(),
                inputs: self.inputs,
                continuable: status.is_continuable(),
            });
        }
    }
}

impl EventFrames for ResponseWriter {
    fn write_start(&mut self, out: &mut BytesMut) {
        let mut events = std::mem::take(&mut self.output.events);
        for name in ["response.created", "response.in_progress"] {
            let response = &self.body(Status::InProgress);
            events.write(&StreamEvent::Response { name, response }, out);
        }
        self.output.events = events;
    }

    fn write(&mut self, event: &Event, out: &mut BytesMut) {
        match event {
            Event::Heartbeat => {}
            Event::Text(piece) => self.output.on_text(piece, out),
            Event::MessageEnded => self.output.close(ItemStatus::Completed, out),
            Event::Reasoning(piece) => self.output.on_reasoning(piece, out),
            Event::ReasoningPartAdded => self.output.on_reasoning_part(out),
            Event::ReasoningItem(item) => self.output.on_reasoned(item, out),
            Event::ToolCall(call) => self.output.on_call(call, out),
            Event::Finished(outcome) => {
                let _written = self.finish(outcome, out);
            }
        }
    }
}

/// Gathers a turn into one response object.
///
/// # Errors
/// The turn did not complete: what had come of it is no answer.
pub async fn collect(mut writer: ResponseWriter, mut turn: ClientTurn) -> Result<Bytes, ApiError> {
    writer.output.events.silence();
    let mut nothing = BytesMut::new();
    while let Some(event) = turn.next().await {
        if let Event::Finished(outcome) = &event {
            return writer.finish(outcome, &mut nothing);
        }
        writer.write(&event, &mut nothing);
    }
    Err(ApiError::shutting_down())
}

fn to_json(body: &ResponseBody<'_>) -> Bytes {
    let json = serde_json::to_vec(body);
    json.expect("our shapes always serialise into memory")
        .into()
}
