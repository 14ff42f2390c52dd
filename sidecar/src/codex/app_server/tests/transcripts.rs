//! The protocol against what real children of Codex 0.169.0 wrote (`tests/golden/codex/app-server-0.169.0`).
//! A transcript has `{"out":...}` for what a child wrote, and `{"in":...}` for what its client did, without parameters.
//!
//! That client was not us, so that its calls have other ids than ours. An answer is one to the call of ours with the
//! same method; where we make no such call, it is left out. What only we call is answered as other transcripts have it.
//! The client's interrupts are ours too, and its refusals must be ours, word for word.

use std::collections::HashMap;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::session::*;
use super::turns::request;
use crate::codex::rate_limits::SharedRateLimits;
use crate::turn::{Event, FinishReason, Outcome, TurnError, Usage};

const KEY: TurnKey = TurnKey(7);

/// Answers to what we call and the clients of some transcripts did not.
fn usual_answer(method: &str) -> Option<Value> {
    match method {
        "getAuthStatus" => Some(json!({"authMethod": null, "requiresOpenaiAuth": false})),
        "thread/inject_items" | "turn/interrupt" => Some(json!({})),
        "thread/unsubscribe" => Some(json!({"status": "unsubscribed"})),
        _ => None,
    }
}

/// What came of a transcript.
#[derive(Debug, Default)]
struct Played {
    text: String,
    /// A message has ended, whose text is parted from the next one's by a blank line.
    parted: bool,
    reasoning: String,
    outcome: Option<Outcome>,
    closed: usize,
    /// The child's requests: our refusals, and what the transcript's client answered.
    refusals: HashMap<String, [Option<Value>; 2]>,
}

impl Played {
    /// As a client sees it, who reads no further than the end.
    fn note(&mut self, event: Event) {
        if self.outcome.is_some() {
            return;
        }
        match event {
            Event::Heartbeat | Event::ReasoningItem(_) => {}
            Event::Text(text) if std::mem::take(&mut self.parted) => {
                self.text = format!("{}\n\n{text}", self.text);
            }
            Event::Text(text) => self.text += &text,
            Event::MessageEnded => self.parted = true,
            Event::Reasoning(text) => self.reasoning += &text,
            Event::ReasoningPartAdded => self.reasoning += "\n\n",
            Event::ToolCall(call) => panic!("nobody offered a tool: {call:?}"),
            Event::Finished(outcome) => self.outcome = Some(outcome),
        }
    }
}

/// A transcript that is played to our side of the protocol.
struct Replay {
    server: AppServer,
    /// The transcript's calls: methods by id.
    theirs: HashMap<u64, String>,
    /// Our unanswered calls: ids by method.
    ours: HashMap<String, Value>,
    played: Played,
}

impl Replay {
    fn play(name: &str) -> Played {
        let lines = transcript(name);
        let theirs = lines.iter().filter_map(|line| {
            let call = &line["in"];
            Some((call["id"].as_u64()?, call["method"].as_str()?.to_owned()))
        });
        let (server, first) = AppServer::start(SharedRateLimits::default(), Instant::now());
        let mut replay = Self {
            server,
            theirs: theirs.collect(),
            ours: HashMap::new(),
            played: Played::default(),
        };
        replay.note(first);
        for line in &lines {
            match line.get("out") {
                Some(message) => replay.child_says(message.clone()),
                None => replay.client_does(&line["in"]),
            }
        }
        replay.played
    }

    fn client_does(&mut self, message: &Value) {
        match message["method"].as_str() {
            Some("thread/start") => {
                let step = self.server.begin(KEY, request(), None);
                self.note(step);
            }
            Some("turn/interrupt") => {
                let step = self.server.interrupt(KEY);
                self.note(step);
            }
            Some(_) => {}
            None => self.refusal(message)[1] = Some(message.clone()),
        }
    }

    fn child_says(&mut self, mut message: Value) {
        let is_answer = message.get("method").is_none();
        if is_answer {
            let call = message["id"].as_u64().and_then(|id| self.theirs.get(&id));
            match call.and_then(|method| self.ours.remove(method)) {
                Some(id) => message["id"] = id,
                None => return,
            }
        }
        self.read(&message);
    }

    fn read(&mut self, message: &Value) {
        let step = self.server.read_line(&message.to_string()).unwrap();
        self.note(step);
    }

    fn note(&mut self, step: Step) {
        for event in step.events {
            assert_eq!(event.0, KEY);
            self.played.note(event.1);
        }
        self.played.closed += step.closed.len();
        for line in step.write {
            self.we_say(&serde_json::from_slice(&line).unwrap());
        }
    }

    fn we_say(&mut self, message: &Value) {
        let Some(method) = message["method"].as_str() else {
            self.refusal(message)[0] = Some(message.clone());
            return;
        };
        let theirs = self.theirs.values().any(|their| their == method);
        match usual_answer(method).filter(|_| !theirs) {
            Some(result) => self.read(&json!({"id": message["id"], "result": result})),
            None => drop(self.ours.insert(method.to_owned(), message["id"].clone())),
        }
    }

    fn refusal(&mut self, answer: &Value) -> &mut [Option<Value>; 2] {
        let id = answer["id"].to_string();
        self.played.refusals.entry(id).or_default()
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

/// An end of the model's own, after so many model calls of the recorded kind.
fn completed(calls: u64) -> Outcome {
    cut(FinishReason::Stop, calls)
}

fn cut(stop: FinishReason, calls: u64) -> Outcome {
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

/// Transcripts of turns that ended well or were ended by us, the text that comes of each, and its end.
fn answers() -> Vec<(&'static str, &'static str, Outcome)> {
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
        ("refusal", "", cut(FinishReason::Refused, 1)),
        ("unknown-tool", HELLO, completed(2)),
        ("exec-auto", HELLO, completed(2)),
        ("mcp-echo", HELLO, completed(2)),
        ("approval", HELLO, completed(2)),
        ("approval-exec-policy-never", HELLO, completed(2)),
        ("approval-patch-decline", HELLO, completed(2)),
        ("approval-permissions-refused", HELLO, completed(2)),
        ("mcp-elicitation-decline", HELLO, completed(2)),
        ("request-user-input-empty", HELLO, completed(2)),
        ("incomplete", HELLO, cut(FinishReason::Length, 1)),
        ("interrupt", HELLO, Outcome::Interrupted),
        ("approval-exec-no-answer", "", Outcome::Interrupted),
    ]
}

/// Transcripts of turns that failed, the text that came before, and the error.
fn failures() -> Vec<(&'static str, &'static str, TurnError)> {
    let rejected = |text: &str| TurnError::Rejected(text.to_owned());
    let quota = || TurnError::QuotaExceeded { retry_after: None };
    vec![
        ("model-400", "", rejected("mock says 400")),
        ("model-401", "", TurnError::Unauthorized),
        ("model-403", "", TurnError::Unauthorized),
        ("model-404", "", TurnError::ModelNotFound),
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
            rejected("mock message for cyber_policy. Please try again in 300ms."),
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
fn each_transcript_comes_to_its_end_and_no_text_is_lost_or_doubled() {
    let failures = failures().into_iter();
    let failures = failures.map(|(name, text, error)| (name, text, Outcome::Failed(error)));
    let mut wrong = Vec::new();
    for (name, text, outcome) in answers().into_iter().chain(failures) {
        let played = Replay::play(name);
        if (played.text.as_str(), played.outcome.as_ref(), played.closed)
            != (text, Some(&outcome), 1)
        {
            wrong.push(format!("{name}: {played:?}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn reasoning_is_told_and_its_parts_are_parted() {
    let expected = "**Thinking about it**\n\nFirst part.\n\n**Second thoughts**\n\nMore.";
    assert_eq!(Replay::play("reasoning").reasoning, expected);
}

#[test]
fn what_a_child_asks_is_refused_as_it_was_seen_to_understand() {
    for name in [
        "approval",
        "approval-patch-decline",
        "approval-permissions-refused",
        "mcp-elicitation-decline",
        "request-user-input-empty",
    ] {
        let refusals = Replay::play(name).refusals;
        assert_eq!(refusals.len(), 1, "{name}");
        for [ours, theirs] in refusals.into_values() {
            assert!(ours.is_some(), "{name}");
            assert_eq!(ours, theirs, "{name}");
        }
    }
}
