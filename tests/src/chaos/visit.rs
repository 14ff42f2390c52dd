//! One request of one client: what it asks, how it reads, and how far it came.
//! Each has a text of its own, so that a text that is cut or goes astray is seen.

use fastrand::Rng;
use http::Request;
use serde_json::{Value, json};

use super::answer::Dialect;
use super::chain::{AGENT_KEY, KEY};
use super::verdict::{Expected, Outcome, Received, judge};
use crate::http::{Body, Client, bearer, post};

/// How far a client came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// It has no head of an answer.
    Asking,
    /// It reads the body.
    Reading,
}

/// Commands of agents: one that ends while its turn runs, one that must be ended with it.
const COMMANDS: [&str; 2] = ["sleep 0.3", "sleep 600"];

/// One request and its answer.
#[derive(Debug)]
pub(super) struct Visit {
    /// The text that it must get.
    pub(super) canary: String,
    /// Whether it asks for a stream.
    pub(super) streamed: bool,
    /// How far it came.
    pub(super) stage: Stage,
    key: &'static str,
    slow: bool,
    script: Value,
}

impl Visit {
    /// What the client `name` asks for next.
    pub(super) fn new(name: &str, rng: &mut Rng) -> Self {
        let large = rng.usize(..8) == 0;
        let length = rng.usize(100..if large { 40_000 } else { 3000 });
        let canary: String = name.chars().cycle().take(length).collect();
        let deltas = rng.usize(1..60);
        let message = json!({
            "text": canary,
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
            ..Self::stream(canary, script)
        }
    }

    /// A stream that begins, and ends when the model lets go `hold`.
    pub(super) fn held(name: &str, hold: &str) -> Self {
        let script = json!([{"text": name, "open": true}, {"hold": hold}, {"text": "."}]);
        Self::stream(format!("{name}."), script)
    }

    /// A stream of a plain model that is read at once.
    fn stream(canary: String, script: Value) -> Self {
        Self {
            canary,
            streamed: true,
            stage: Stage::Asking,
            key: KEY,
            slow: false,
            script,
        }
    }

    /// Asks, and reads to the end.
    pub(super) async fn run(&mut self, client: &mut Client) -> Received {
        let Ok(stream) = client.stream(self.request()).await else {
            return Received::nothing();
        };
        self.stage = Stage::Reading;
        Received::read(stream, self.slow).await
    }

    /// How it ended.
    ///
    /// # Errors
    /// What is wrong with it.
    pub(super) fn judge(&self, received: &Received) -> Result<Outcome, String> {
        let expected = Expected::Text(self.canary.clone());
        let judged = judge(received, Dialect::Chat, self.streamed, &expected);
        judged.map(|(outcome, _)| outcome)
    }

    fn request(&self) -> Request<Body> {
        let message = json!({"role": "user", "content": format!("[[model:{}]]", self.script)});
        let body = json!({"model": "codex-5", "stream": self.streamed, "messages": [message]});
        bearer(post("/v1/chat/completions", body.to_string()), self.key)
    }
}
