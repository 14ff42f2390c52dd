//! The response: typed events of a stream, or one response object; and the record that is stored.
//! OpenAI API reference, "Responses streaming events" and "The response object".

use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use tokio_util::sync::CancellationToken;

use super::echo::RequestEcho;
use super::event::StreamEvent;
use super::item::{ItemStatus, ResponseId};
use super::object::{IncompleteDetails, ResponseBody, ResponseError, ResponseStatus};
use super::output::ResponseOutput;
use super::request::ResponseSpec;
use crate::openai::response::error::{ApiError, outcome_error};
use crate::openai::response::field_names::FieldNames;
use crate::openai::response::id::unix_seconds;
use crate::openai::response::options::REFUSAL_TEXT;
use crate::openai::response::sse::EventFrames;
use crate::store::{
    ArchiveWrite, ConversationNode, ResponseRecord, ResponseStore, RunningResponse,
};
use crate::turn::{ClientTurn, Event, FinishReason, MemoryHold, Outcome, Usage};

/// Writes the events of a response, and stores the response when its turn has ended.
#[derive(Debug)]
pub struct ResponseWriter {
    id: ResponseId,
    created_at: u64,
    model_id: String,
    echo: RequestEcho,
    prompt_chars: usize,
    context_window: Option<u64>,
    /// Items of the request.
    input_len: usize,
    previous: Option<Arc<ConversationNode>>,
    output: ResponseOutput,
    /// `None` for a response that is not stored, or has ended.
    running: Option<RunningResponse>,
    /// The write of the response to the archive.
    archived: ArchiveWrite,
    /// The memory of the request's items in `output`, until they are the store's.
    _memory: MemoryHold,
}

/// The end of a response.
struct ResponseEnd {
    status: ResponseStatus,
    reason: Option<FinishReason>,
    usage: Option<Usage>,
    error: Option<ApiError>,
}

impl ResponseWriter {
    /// Returns the writer of one response to `client`.
    pub fn new(spec: ResponseSpec, store: &Arc<ResponseStore>, client: &str) -> Self {
        let id = ResponseId::fresh();
        let is_polled = spec.options.delivery.is_background();
        let mut writer = Self {
            created_at: unix_seconds(),
            model_id: spec.options.model_id,
            echo: spec.echo,
            prompt_chars: spec.options.prompt_chars,
            context_window: spec.options.context_window,
            input_len: spec.input.len(),
            previous: spec.previous,
            output: ResponseOutput::new(id.clone(), spec.input, spec.encrypted_reasoning),
            running: None,
            archived: ArchiveWrite::default(),
            _memory: spec.memory,
            id,
        };
        // Registered before the first event, so that the client can cancel or retrieve the id in `response.created`.
        if spec.store {
            let document = writer.in_progress();
            let mut running = store.begin(client, writer.id.as_str(), document.clone());
            if is_polled {
                running.announce(document);
            }
            writer.running = Some(running);
        }
        writer
    }

    /// Returns the token that fires when the client cancels the response.
    pub fn cancelled(&self) -> Option<CancellationToken> {
        let running = self.running.as_ref()?;
        Some(running.cancelled().clone())
    }

    /// Returns the response object while the turn runs.
    pub fn in_progress(&self) -> Bytes {
        to_json(&self.body(ResponseStatus::InProgress))
    }

    fn body(&self, status: ResponseStatus) -> ResponseBody<'_> {
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
            model: &self.model_id,
            echo: &self.echo,
        }
    }

    /// Writes the last events, stores the response, and returns the response object, or the error of a failed turn.
    fn finish(&mut self, outcome: &Outcome, out: &mut BytesMut) -> Result<Bytes, ApiError> {
        // The open item is closed first: its last events go before those of the response, and `body` includes it.
        let end = self.end(outcome);
        self.close(&end, out);
        let events = std::mem::take(&mut self.output.events);
        let usage = end.reason.map(|_| {
            let estimate = || Usage::estimate(self.prompt_chars, self.output.chars());
            end.usage.unwrap_or_else(estimate)
        });
        let body = ResponseBody {
            completed_at: (end.status == ResponseStatus::Completed).then(unix_seconds),
            // As with OpenAI, the status alone tells that a response was cancelled.
            error: end
                .error
                .as_ref()
                .filter(|_| end.status != ResponseStatus::Cancelled)
                .map(ResponseError::from),
            incomplete_details: end.reason.and_then(IncompleteDetails::of),
            usage: usage.map(Into::into),
            ..self.body(end.status)
        };
        events.end(&body, end.error.as_ref(), out);
        let document = to_json(&body);
        // A failed or cancelled response is stored too: its client reads the reason with GET.
        self.store(document.clone(), end.status);
        match (end.status, end.error) {
            (ResponseStatus::Failed, Some(error)) => Err(error),
            _ => Ok(document),
        }
    }

    fn end(&self, outcome: &Outcome) -> ResponseEnd {
        let is_cancelled = self.cancelled().is_some_and(|token| token.is_cancelled());
        let (status, reason, usage) = match outcome {
            Outcome::Completed { stop, usage } => {
                let is_complete = IncompleteDetails::of(*stop).is_none();
                let status = if is_complete {
                    ResponseStatus::Completed
                } else {
                    ResponseStatus::Incomplete
                };
                (status, Some(*stop), *usage)
            }
            Outcome::Interrupted if is_cancelled => (ResponseStatus::Cancelled, None, None),
            Outcome::Interrupted | Outcome::Failed(_) => (ResponseStatus::Failed, None, None),
        };
        let error = match status {
            ResponseStatus::Cancelled => Some(ApiError::response_cancelled()),
            _ => outcome_error(outcome)
                .map(|error| error.in_format(&FieldNames::RESPONSE, self.context_window)),
        };
        ResponseEnd {
            status,
            reason,
            usage,
            error,
        }
    }

    fn close(&mut self, end: &ResponseEnd, out: &mut BytesMut) {
        let status = match end.status {
            ResponseStatus::Completed => ItemStatus::Completed,
            _ => ItemStatus::Incomplete,
        };
        self.output.close(status, out);
        match end.reason {
            Some(FinishReason::Refused) => self.output.on_refusal(REFUSAL_TEXT, out),
            Some(FinishReason::Stop | FinishReason::StopSequence(_)) => {
                self.output.on_empty_answer(out)
            }
            Some(
                FinishReason::ToolCalls
                | FinishReason::Length
                | FinishReason::Budget(_)
                | FinishReason::ContentFilter,
            )
            | None => {}
        }
    }

    fn store(&mut self, document: Bytes, status: ResponseStatus) {
        if let Some(running) = self.running.take() {
            self.archived = running.store(ResponseRecord {
                document,
                previous: self.previous.take(),
                items: self.output.take_items(),
                input_len: self.input_len,
                continuable: status.is_continuable(),
            });
        }
    }
}

impl EventFrames for ResponseWriter {
    fn write_start(&mut self, out: &mut BytesMut) {
        // Taken out and put back: `body` borrows the whole writer.
        let mut events = std::mem::take(&mut self.output.events);
        for name in ["response.created", "response.in_progress"] {
            let response = &self.body(ResponseStatus::InProgress);
            events.write(&StreamEvent::Response { name, response }, out);
        }
        self.output.events = events;
    }

    fn write(&mut self, event: &Event, out: &mut BytesMut) {
        match event {
            Event::Heartbeat | Event::Used(_) => {}
            Event::Text(delta) => self.output.on_text(delta, out),
            Event::MessagePhase(phase) => self.output.on_phase(*phase),
            // A truncated text ends without this event; `finish` closes its item with the status of the response.
            Event::MessageEnded => self.output.on_message_end(out),
            Event::Reasoning(delta) => self.output.on_reasoning(delta, out),
            Event::ReasoningPartAdded => self.output.on_reasoning_part(out),
            Event::ReasoningItem(item) => self.output.on_reasoning_item(item, out),
            Event::ToolCall(call) => self.output.on_call(call, out),
            Event::Finished(outcome) => {
                let _ = self.finish(outcome, out); // The events in `out` are the response.
            }
        }
    }

    async fn flushed(&mut self) {
        self.archived.finished().await;
    }
}

/// Collects a turn into one response object.
///
/// # Errors
/// The error of a turn that failed.
pub async fn collect(mut writer: ResponseWriter, mut turn: ClientTurn) -> Result<Bytes, ApiError> {
    writer.output.events.silence(); // The object is returned whole; events would only be built and dropped.
    let mut unused = BytesMut::new();
    while let Some(event) = turn.next().await {
        if let Event::Finished(outcome) = &event {
            let result = writer.finish(outcome, &mut unused);
            writer.archived.finished().await;
            return result;
        }
        writer.write(&event, &mut unused);
    }
    Err(ApiError::shutting_down())
}

fn to_json(body: &ResponseBody<'_>) -> Bytes {
    serde_json::to_vec(body)
        .expect("these types always serialise into memory")
        .into()
}
