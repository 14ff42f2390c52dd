//! A request of a client: its prompt, its expected text, its reading speed and its progress.
//! Each has a text of its own, so that a truncated or misrouted text is detected.

use fastrand::Rng;
use http::Request;
use serde_json::{Value, json};

use super::chain::{AGENT_KEY, KEY};
use super::outcome::{ExpectedOutput, ReceivedResponse, RequestOutcome, evaluate};
use super::parsed_response::Endpoint;
use crate::http::{Body, Client, bearer, post};

/// The progress of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RequestStage {
    /// The response head has not arrived.
    AwaitingHead,
    /// The body is being read.
    ReadingBody,
}

/// Commands of agents: one that ends while its turn runs, one that must be killed with its turn.
const COMMANDS: [&str; 2] = ["sleep 0.3", "sleep 600"];

/// A request and its progress.
#[derive(Debug)]
pub(super) struct ClientRequest {
    /// The text of a complete response.
    pub(super) expected_text: String,
    /// Whether the request asks for a stream.
    pub(super) streamed: bool,
    /// The progress so far.
    pub(super) stage: RequestStage,
    key: &'static str,
    slow: bool,
    script: Value,
}

impl ClientRequest {
    /// A random request; its expected text repeats `marker`.
    pub(super) fn random(marker: &str, rng: &mut Rng) -> Self {
        let large = rng.usize(..8) == 0;
        let length = rng.usize(100..if large { 40_000 } else { 3000 });
        let expected_text: String = marker.chars().cycle().take(length).collect();
        let deltas = rng.usize(1..60);
        let message = json!({
            "text": expected_text,
            "delta_chars": length.div_ceil(deltas),
            "delay_ms": rng.u64(..25),
        });
        let mut script = json!([{"pause_ms": rng.u64(..400)}, message]);
        let is_agent = rng.usize(..10) == 0;
        if is_agent {
            let command = json!({"cmd": COMMANDS[rng.usize(..COMMANDS.len())]});
            script = json!([[{"call": "exec_command", "arguments": command}], script]);
        }
        Self {
            key: if is_agent { AGENT_KEY } else { KEY },
            streamed: rng.usize(..3) > 0,
            slow: rng.usize(..5) == 0,
            ..Self::stream(expected_text, script)
        }
    }

    /// A stream that begins, and ends when the model's hold `hold` is released.
    pub(super) fn held(name: &str, hold: &str) -> Self {
        let script = json!([{"text": name, "open": true}, {"hold": hold}, {"text": "."}]);
        Self::stream(format!("{name}."), script)
    }

    /// A stream with the chat profile that is read without pauses.
    fn stream(expected_text: String, script: Value) -> Self {
        Self {
            expected_text,
            streamed: true,
            stage: RequestStage::AwaitingHead,
            key: KEY,
            slow: false,
            script,
        }
    }

    /// Sends the request and reads the response to its end.
    pub(super) async fn run(&mut self, client: &mut Client) -> ReceivedResponse {
        let Ok(stream) = client.stream(self.http_request()).await else {
            return ReceivedResponse::no_head();
        };
        self.stage = RequestStage::ReadingBody;
        ReceivedResponse::read(stream, self.slow).await
    }

    /// The outcome of the request.
    ///
    /// # Errors
    /// Describes a response that violates the contract.
    pub(super) fn evaluate(&self, received: &ReceivedResponse) -> Result<RequestOutcome, String> {
        let expected = ExpectedOutput::Text(self.expected_text.clone());
        let evaluated = evaluate(received, Endpoint::Chat, self.streamed, &expected);
        evaluated.map(|(outcome, _)| outcome)
    }

    fn http_request(&self) -> Request<Body> {
        let message = json!({"role": "user", "content": format!("[[model:{}]]", self.script)});
        let body = json!({"model": "codex-5", "stream": self.streamed, "messages": [message]});
        bearer(post("/v1/chat/completions", body.to_string()), self.key)
    }
}
