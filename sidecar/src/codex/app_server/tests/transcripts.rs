//! The session against transcripts of real children of Codex 0.169.0 (`tests/golden/codex/app-server-0.169.0`).
//! A transcript has `{"out":...}` for each line of the child, and `{"in":...}` without parameters for each of its
//! client.
//!
//! The recorded client was not the sidecar, so that its calls have other ids. A recorded response is a response to the
//! session's call of the same method, and is skipped when the session makes no such call. Calls that only the session
//! makes get the response that other transcripts have. The recorded interrupts are repeated, and the recorded refusals
//! must be those of the session, byte for byte.

use std::collections::HashMap;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::ids::TurnKey;
use super::super::session::*;
use super::peer::request;
use crate::codex::rate_limits::SharedRateLimits;
use crate::turn::{Event, FinishReason, Outcome, Refusal, TurnError, Usage};

const KEY: TurnKey = TurnKey(7);

/// Returns the response to a call that the clients of some transcripts did not make.
fn usual_result(method: &str) -> Option<Value> {
    match method {
        "getAuthStatus" => Some(json!({"authMethod": null, "requiresOpenaiAuth": false})),
        "thread/inject_items" | "turn/interrupt" => Some(json!({})),
        "thread/unsubscribe" => Some(json!({"status": "unsubscribed"})),
        _ => None,
    }
}

/// The result of a transcript.
#[derive(Debug, Default)]
struct TranscriptResult {
    text: String,
    /// A message has ended. A blank line separates the next one.
    at_message_end: bool,
    reasoning: String,
    outcome: Option<Outcome>,
    closed: usize,
    /// Responses to the child's requests by id: the session's and the recorded client's.
    refusals: HashMap<String, [Option<Value>; 2]>,
}

impl TranscriptResult {
    /// Records an event as a client sees it. A client reads no further than the end.
    fn note(&mut self, event: Event) {
        if self.outcome.is_some() {
            return;
        }
        match event {
            Event::Heartbeat
            | Event::Used(_)
            | Event::MessagePhase(_)
            | Event::ReasoningItem(_) => {}
            Event::Text(text) if std::mem::take(&mut self.at_message_end) => {
                self.text = format!("{}\n\n{text}", self.text);
            }
            Event::Text(text) => self.text += &text,
            Event::MessageEnded => self.at_message_end = true,
            Event::Reasoning(text) => self.reasoning += &text,
            Event::ReasoningPartAdded => self.reasoning += "\n\n",
            Event::ToolCall(call) => panic!("unexpected tool call: {call:?}"),
            Event::Finished(outcome) => self.outcome = Some(outcome),
        }
    }
}

/// A transcript that is played to a session.
struct TranscriptPlayer {
    session: AppServerSession,
    /// Methods of the recorded client's calls, by id.
    recorded: HashMap<u64, String>,
    /// Ids of the session's pending calls, by method.
    pending: HashMap<String, Value>,
    result: TranscriptResult,
}

impl TranscriptPlayer {
    fn play(name: &str) -> TranscriptResult {
        Self::play_lines(&transcript(name))
    }

    fn play_lines(lines: &[Value]) -> TranscriptResult {
        let recorded = lines.iter().filter_map(|line| {
            let call = &line["in"];
            Some((call["id"].as_u64()?, call["method"].as_str()?.to_owned()))
        });
        let (session, first) = AppServerSession::start(SharedRateLimits::default(), Instant::now());
        let mut player = Self {
            session,
            recorded: recorded.collect(),
            pending: HashMap::new(),
            result: TranscriptResult::default(),
        };
        player.note(first);
        for line in lines {
            match line.get("out") {
                Some(message) => player.on_child(message.clone()),
                None => player.on_client(&line["in"]),
            }
        }
        player.result
    }

    fn on_client(&mut self, message: &Value) {
        match message["method"].as_str() {
            Some("thread/start") => {
                let output = self.session.begin(KEY, request(), None);
                self.note(output);
            }
            Some("turn/interrupt") => {
                let output = self.session.interrupt(KEY);
                self.note(output);
            }
            Some(_) => {}
            None => self.refusal(message)[1] = Some(message.clone()),
        }
    }

    fn on_child(&mut self, mut message: Value) {
        let is_response = message.get("method").is_none();
        if is_response {
            let call = message["id"].as_u64().and_then(|id| self.recorded.get(&id));
            match call.and_then(|method| self.pending.remove(method)) {
                Some(id) => message["id"] = id,
                None => return,
            }
        }
        self.read(&message);
    }

    fn read(&mut self, message: &Value) {
        let output = self.session.read_line(&message.to_string()).unwrap();
        self.note(output);
    }

    fn note(&mut self, output: SessionOutput) {
        for event in output.events {
            assert_eq!(event.0, KEY);
            self.result.note(event.1);
        }
        self.result.closed += output.closed.len();
        for line in output.write {
            self.on_session(&serde_json::from_slice(&line).unwrap());
        }
    }

    fn on_session(&mut self, message: &Value) {
        let Some(method) = message["method"].as_str() else {
            self.refusal(message)[0] = Some(message.clone());
            return;
        };
        let is_recorded = self.recorded.values().any(|recorded| recorded == method);
        match usual_result(method).filter(|_| !is_recorded) {
            Some(result) => self.read(&json!({"id": message["id"], "result": result})),
            None => drop(
                self.pending
                    .insert(method.to_owned(), message["id"].clone()),
            ),
        }
    }

    fn refusal(&mut self, response: &Value) -> &mut [Option<Value>; 2] {
        let id = response["id"].to_string();
        self.result.refusals.entry(id).or_default()
    }
}

fn transcript(name: &str) -> Vec<Value> {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/golden/codex/app-server-0.169.0"
    );
    let text = std::fs::read_to_string(format!("{folder}/{name}.jsonl")).unwrap();
    text.lines()
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

/// Returns the outcome of a turn that the model ended, after `calls` model calls of the recorded kind.
fn completed(calls: u64) -> Outcome {
    ended(FinishReason::Stop, calls)
}

fn ended(stop: FinishReason, calls: u64) -> Outcome {
    let usage = Usage {
        input_tokens: 11 * calls,
        cached_input_tokens: 3 * calls,
        output_tokens: 5 * calls,
        reasoning_tokens: 0,
    };
    Outcome::Completed {
        stop,
        usage: Some(usage),
    }
}

const HELLO: &str = "Hello from the mock.";

/// Transcripts of turns that completed or were interrupted, with the text and the outcome of each.
fn completions() -> Vec<(&'static str, &'static str, Outcome)> {
    let thought = Usage {
        input_tokens: 21,
        cached_input_tokens: 4,
        output_tokens: 40,
        reasoning_tokens: 32,
    };
    let thought = Outcome::Completed {
        stop: FinishReason::Stop,
        usage: Some(thought),
    };
    vec![
        ("chat-stateless", HELLO, completed(1)),
        ("rate-limit-headers", HELLO, completed(1)),
        ("model-500-once", HELLO, completed(1)),
        (
            "two-messages",
            "Let me check.\n\nHello from the mock.",
            completed(1),
        ),
        ("reasoning", HELLO, thought),
        ("refusal", "", ended(FinishReason::Refused, 1)),
        ("unknown-tool", HELLO, completed(2)),
        ("exec-auto", HELLO, completed(2)),
        ("mcp-echo", HELLO, completed(2)),
        ("approval", HELLO, completed(2)),
        ("approval-exec-policy-never", HELLO, completed(2)),
        ("approval-patch-decline", HELLO, completed(2)),
        ("approval-permissions-refused", HELLO, completed(2)),
        ("mcp-elicitation-decline", HELLO, completed(2)),
        ("request-user-input-empty", HELLO, completed(2)),
        ("incomplete", HELLO, ended(FinishReason::Length, 1)),
        ("interrupt", HELLO, Outcome::Interrupted),
        ("approval-exec-no-answer", "", Outcome::Interrupted),
    ]
}

/// Transcripts of turns that failed, with the text before the failure and the error.
fn failures() -> Vec<(&'static str, &'static str, TurnError)> {
    let rejected = |text: &str| TurnError::Rejected(text.into());
    let quota = || TurnError::QuotaExceeded { retry_after: None };
    vec![
        (
            "model-400",
            "",
            TurnError::Rejected(Refusal {
                code: Some("unknown_parameter".to_owned()),
                .."mock says 400".into()
            }),
        ),
        ("model-401", "", TurnError::Unauthorized),
        ("model-403", "", TurnError::Unauthorized),
        (
            "model-404",
            "",
            TurnError::ModelNotFound("mock says 404".to_owned()),
        ),
        ("model-413", "", rejected("mock says 413")),
        ("model-429", "", TurnError::ProviderRateLimited),
        ("model-500", "", TurnError::ProviderFailed),
        ("model-503", "", TurnError::ProviderOverloaded),
        ("context-length", "", TurnError::ContextLength),
        ("context-length-400", "", TurnError::ContextLength),
        ("usage-limit", "", quota()),
        ("failed-insufficient-quota", "", quota()),
        ("failed-usage-not-included", "", quota()),
        (
            "failed-rate-limit-exceeded",
            "",
            TurnError::ProviderRateLimited,
        ),
        ("failed-slow-down", "", TurnError::ProviderRateLimited),
        (
            "failed-server-is-overloaded",
            "",
            TurnError::ProviderOverloaded,
        ),
        (
            "failed-cyber-policy",
            "",
            TurnError::PolicyViolation {
                policy: "cyber security",
                message: "mock message for cyber_policy. Please try again in 300ms.".to_owned(),
            },
        ),
        ("failed-invalid-prompt", "", TurnError::ProviderFailed),
        ("conn-refused-bounded", "", TurnError::ProviderFailed),
        ("env-key-missing", "", TurnError::Unavailable),
        (
            "stream-cut-no-retry",
            "Hello from",
            TurnError::ProviderFailed,
        ),
        ("stream-cut-once", "Hello from", TurnError::ProviderFailed),
        ("stream-cut", "Hello from", TurnError::ProviderFailed),
        ("failed-in-stream", "Hello from", TurnError::ProviderFailed),
        ("stream-idle", "Hello", TurnError::ProviderFailed),
        (
            "incomplete-content-filter",
            HELLO,
            TurnError::ProviderFailed,
        ),
    ]
}

#[test]
fn each_transcript_gives_its_text_once_and_its_outcome() {
    let failures = failures()
        .into_iter()
        .map(|(name, text, error)| (name, text, Outcome::Failed(error)));
    let mut wrong = Vec::new();
    for (name, text, outcome) in completions().into_iter().chain(failures) {
        let result = TranscriptPlayer::play(name);
        if (result.text.as_str(), result.outcome.as_ref(), result.closed)
            != (text, Some(&outcome), 1)
        {
            wrong.push(format!("{name}: {result:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn messages_without_deltas_are_sent() {
    let lines = transcript("two-messages");
    let without_deltas = lines
        .into_iter()
        .filter(|line| line["out"]["method"] != "item/agentMessage/delta")
        .collect::<Vec<_>>();
    let result = TranscriptPlayer::play_lines(&without_deltas);
    assert_eq!(result.text, "Let me check.\n\nHello from the mock.");
    assert_eq!(result.outcome, Some(completed(1)));
}

#[test]
fn reasoning_is_sent_with_separated_parts() {
    let expected = "**Thinking about it**\n\nFirst part.\n\n**Second thoughts**\n\nMore.";
    assert_eq!(TranscriptPlayer::play("reasoning").reasoning, expected);
}

#[test]
fn requests_of_the_child_are_declined_as_recorded() {
    for name in [
        "approval",
        "approval-patch-decline",
        "approval-permissions-refused",
        "mcp-elicitation-decline",
        "request-user-input-empty",
    ] {
        let refusals = TranscriptPlayer::play(name).refusals;
        assert_eq!(refusals.len(), 1, "{name}");
        for [ours, recorded] in refusals.into_values() {
            assert!(ours.is_some(), "{name}");
            assert_eq!(ours, recorded, "{name}");
        }
    }
}
