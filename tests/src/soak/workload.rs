//! Workloads of clients: each endpoint, streamed or not, small or large, single or in a conversation, and the output
//! that the client must get. Follows the OpenAI API reference; scripts are those of `crate::scripted_model`.

use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::chaos::outcome::ExpectedOutput;
use crate::chaos::parsed_response::{Endpoint, ParsedResponse};

/// Disconnects: the client leaves one in this many requests before the end.
const DISCONNECT_ONE_IN: usize = 8;

/// Longest time before a disconnect, in milliseconds: some responses have no head by then, some are nearly complete.
const MAX_STAY_MS: u64 = 1500;

/// Slow readers: the client reads one in this many responses slowly.
const SLOW_ONE_IN: usize = 6;

/// Bytes of a large prompt.
const LARGE_PROMPT: std::ops::Range<usize> = 100_000..1_000_000;

/// A kind of client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Workload {
    /// A single request to an endpoint.
    Plain(Endpoint),
    /// A single request with a large prompt.
    Large,
    /// A request, and a second one that reads back the input of the first.
    Conversation,
    /// A request for a tool call, and a second one with the tool's output.
    Tool,
    /// A request during which the model stream breaks off.
    Cut,
    /// A request during which the model stream stalls.
    Stall,
}

/// A request and its expected output.
#[derive(Debug)]
pub(super) struct WorkloadRequest {
    pub(super) endpoint: Endpoint,
    pub(super) body: Value,
    pub(super) expected: ExpectedOutput,
    /// Whether the model fails, so that the outcome must not be a success.
    pub(super) fails: bool,
    pub(super) slow: bool,
    /// Time after which the client disconnects.
    pub(super) disconnect_after: Option<Duration>,
}

impl Workload {
    /// Every workload; one that is listed twice is twice as frequent.
    const ALL: [Self; 11] = [
        Self::Plain(Endpoint::Chat),
        Self::Plain(Endpoint::Chat),
        Self::Plain(Endpoint::Completions),
        Self::Plain(Endpoint::Responses),
        Self::Plain(Endpoint::Responses),
        Self::Large,
        Self::Conversation,
        Self::Conversation,
        Self::Tool,
        Self::Cut,
        Self::Stall,
    ];

    /// Returns a random workload.
    pub(super) fn random(rng: &mut Rng) -> Self {
        Self::ALL[rng.usize(..Self::ALL.len())]
    }

    /// The workload's row in the report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain(Endpoint::Chat) => "chat",
            Self::Plain(Endpoint::Completions) => "completion",
            Self::Plain(Endpoint::Responses) => "response",
            Self::Large => "large prompt",
            Self::Conversation => "conversation",
            Self::Tool => "tool",
            Self::Cut => "cut",
            Self::Stall => "stall",
        }
    }

    /// The first request of a client; the text that it must get back consists of `marker`.
    pub(super) fn first_request(self, marker: &str, rng: &mut Rng) -> WorkloadRequest {
        let text = marked_text(marker, rng);
        let message = message_script(&text, rng);
        let fails = matches!(self, Self::Cut | Self::Stall);
        let open = json!({"text": text, "open": true});
        let (endpoint, script) = match self {
            Self::Plain(endpoint) => (endpoint, message),
            Self::Large => (Endpoint::Chat, message),
            Self::Conversation => (Endpoint::Responses, message),
            Self::Tool => (Endpoint::Chat, json!([[call(&text)], message])),
            Self::Cut => (random_endpoint(rng), json!([open, {"cut": "abort"}])),
            Self::Stall => (
                random_endpoint(rng),
                json!([open, {"hold": "never released"}, {"text": "."}]),
            ),
        };
        let mut prompt = format!("[[model:{script}]]");
        if self == Self::Large {
            prompt.insert_str(0, &marker.repeat(rng.usize(LARGE_PROMPT) / marker.len()));
        }
        let mut body = request_body(endpoint, &prompt, rng);
        let mut expected = ExpectedOutput::Text(text.clone());
        if self == Self::Tool {
            body["tools"] = json!([{"type": "function", "function": {"name": "look"}}]);
            expected = ExpectedOutput::Call(arguments(&text));
        }
        WorkloadRequest::new(endpoint, body, expected, fails, rng)
    }

    /// The request that follows `request` and its `response`; `None` at the end of the workload.
    pub(super) fn next_request(
        self,
        request: &WorkloadRequest,
        response: &ParsedResponse,
        rng: &mut Rng,
    ) -> Option<WorkloadRequest> {
        match (self, &request.expected) {
            (Self::Conversation, ExpectedOutput::Text(text)) => {
                let echo = r#"[[model:{"echo":"input"}]]"#;
                let mut body = request_body(Endpoint::Responses, echo, rng);
                body["previous_response_id"] = json!(response.id);
                let quote = ExpectedOutput::Quote(text.clone());
                let next = WorkloadRequest::new(Endpoint::Responses, body, quote, false, rng);
                Some(next)
            }
            (Self::Tool, ExpectedOutput::Call(arguments)) => {
                let mut body = request.body.clone();
                let messages = body["messages"].as_array_mut()?;
                let function = json!({"name": "look", "arguments": arguments});
                let call = json!({"id": "c1", "type": "function", "function": function});
                messages.push(json!({"role": "assistant", "content": null, "tool_calls": [call]}));
                messages.push(json!({"role": "tool", "tool_call_id": "c1", "content": "seen"}));
                let arguments: Value = serde_json::from_str(arguments).ok()?;
                let text = ExpectedOutput::Text(arguments["text"].as_str()?.to_owned());
                let next = WorkloadRequest::new(Endpoint::Chat, body, text, false, rng);
                Some(next)
            }
            _ => None,
        }
    }
}

impl WorkloadRequest {
    fn new(
        endpoint: Endpoint,
        body: Value,
        expected: ExpectedOutput,
        fails: bool,
        rng: &mut Rng,
    ) -> Self {
        let disconnects = rng.usize(..DISCONNECT_ONE_IN) == 0;
        let stay = Duration::from_millis(rng.u64(..MAX_STAY_MS));
        Self {
            endpoint,
            body,
            expected,
            fails,
            slow: rng.usize(..SLOW_ONE_IN) == 0,
            disconnect_after: disconnects.then_some(stay),
        }
    }

    /// Whether the request asks for a stream.
    pub(super) fn streamed(&self) -> bool {
        self.body["stream"] == true
    }
}

fn random_endpoint(rng: &mut Rng) -> Endpoint {
    [Endpoint::Chat, Endpoint::Completions, Endpoint::Responses][rng.usize(..3)]
}

fn request_body(endpoint: Endpoint, prompt: &str, rng: &mut Rng) -> Value {
    let stream = rng.bool();
    let mut body = json!({"model": "codex-5", "stream": stream});
    match endpoint {
        Endpoint::Chat => body["messages"] = json!([{"role": "user", "content": prompt}]),
        Endpoint::Completions => body["prompt"] = json!(prompt),
        Endpoint::Responses => body["input"] = json!(prompt),
    }
    body
}

fn marked_text(marker: &str, rng: &mut Rng) -> String {
    let large = rng.usize(..8) == 0;
    let length = rng.usize(100..if large { 40_000 } else { 3000 });
    marker.chars().cycle().take(length).collect()
}

/// A message in several deltas, and a usage with every kind of token.
fn message_script(text: &str, rng: &mut Rng) -> Value {
    let deltas = rng.usize(1..60);
    let delta_chars = text.len().div_ceil(deltas);
    let message = json!({"text": text, "delta_chars": delta_chars, "delay_ms": rng.u64(..25)});
    let usage = json!({"cached_tokens": rng.u64(..9), "reasoning_tokens": rng.u64(..9)});
    json!([message, {"usage": usage}])
}

fn call(text: &str) -> Value {
    json!({"call": "look", "call_id": "c1", "arguments": arguments(text)})
}

fn arguments(text: &str) -> String {
    json!({"text": text}).to_string()
}
