//! A streamed response: its first events, its last event, and the usage that it reports.
//! The source is OpenAI's Responses API, streaming events.

use serde_json::{Value, json};

use super::items::OutputItem;

/// A response in progress, with its completed items.
#[derive(Debug)]
pub(crate) struct ResponseState {
    /// Number of the request, from which ids are made: they differ between responses and repeat between runs.
    number: u64,
    model: String,
    /// Seconds since the epoch.
    created_at: u64,
    output: Vec<Value>,
}

/// The last event of a stream.
#[derive(Debug)]
pub(crate) enum FinalEvent {
    Completed(TokenCounts),
    Incomplete { reason: String, tokens: TokenCounts },
    Failed { code: String, message: String },
}

/// Token counts; reasoning is part of the output, cached is part of the input.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TokenCounts {
    pub(crate) input: u64,
    pub(crate) cached: u64,
    pub(crate) output: u64,
    pub(crate) reasoning: u64,
}

impl ResponseState {
    pub(crate) fn new(number: u64, model: String, created_at: u64) -> Self {
        Self {
            number,
            model,
            created_at,
            output: Vec::new(),
        }
    }

    /// The events that open every stream.
    pub(crate) fn begin(&self) -> [Value; 2] {
        ["response.created", "response.in_progress"]
            .map(|kind| json!({"type": kind, "response": self.snapshot("in_progress")}))
    }

    /// The position of the next item: its index, and an id such as `msg_7_0` in the seventh response.
    pub(crate) fn next_position(&self, prefix: &str) -> (usize, String) {
        let index = self.output.len();
        (index, format!("{prefix}_{}_{index}", self.number))
    }

    /// Adds a completed item and returns its closing event.
    pub(crate) fn finish(&mut self, item: OutputItem) -> Value {
        let (event, value) = item.done();
        self.output.push(value);
        event
    }

    /// The event that ends the stream; a failed response reports no usage.
    pub(crate) fn end(&self, last: FinalEvent) -> Value {
        let status = match last {
            FinalEvent::Completed(_) => "completed",
            FinalEvent::Incomplete { .. } => "incomplete",
            FinalEvent::Failed { .. } => "failed",
        };
        let mut response = self.snapshot(status);
        match last {
            FinalEvent::Completed(tokens) => response["usage"] = tokens.to_json(),
            FinalEvent::Incomplete { reason, tokens } => {
                response["incomplete_details"] = json!({"reason": reason});
                response["usage"] = tokens.to_json();
            }
            FinalEvent::Failed { code, message } => {
                response["error"] = json!({"code": code, "message": message});
            }
        }
        json!({"type": format!("response.{status}"), "response": response})
    }

    fn snapshot(&self, status: &str) -> Value {
        json!({
            "id": format!("resp_{}", self.number),
            "object": "response",
            "created_at": self.created_at,
            "status": status,
            "model": self.model,
            "output": self.output,
            "error": null,
            "incomplete_details": null,
            "usage": null,
        })
    }
}

impl TokenCounts {
    fn to_json(self) -> Value {
        json!({
            "input_tokens": self.input,
            "input_tokens_details": {"cached_tokens": self.cached},
            "output_tokens": self.output,
            "output_tokens_details": {"reasoning_tokens": self.reasoning},
            "total_tokens": self.input + self.output,
        })
    }
}
