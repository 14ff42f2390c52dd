//! The session against transcripts of real children of Codex 0.42.0 (`tests/golden/codex/proto-0.42.0`), and against
//! silence.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::super::session::*;
use crate::codex::rate_limits::SharedRateLimits;
use crate::turn::{
    Content, ConversationDigest, Effort, Event, FinishReason, Item, MemoryHold, Message, Model,
    Outcome, Profile, Role, Summary, Tools, TurnError, TurnRequest, Usage,
};

/// The result of a transcript: the client's view, and the lines for the child.
#[derive(Debug, Default, PartialEq)]
struct ProtoResult {
    text: String,
    reasoning: String,
    outcome: Option<Outcome>,
    written: Vec<Value>,
    error: Option<String>,
}

fn request() -> TurnRequest {
    TurnRequest {
        profile: Profile::Chat,
        model: Model::new("gpt-5").with_effort(Effort::parse("low")),
        conversation: vec![Item::Message(Message {
            phase: None,
            role: Role::User,
            content: vec![Content::Text("hi".to_owned())],
        })],
        tools: Tools::default(),
        schema: None,
        summary: Summary::Auto,
        memory: MemoryHold::default(),
        hint: None,
        token_cap: None,
        digest: ConversationDigest::default(),
    }
}

fn play<'a>(lines: impl IntoIterator<Item = &'a str>) -> ProtoResult {
    let mut proto = ProtoSession::start(
        "/work".to_owned(),
        SharedRateLimits::default(),
        Instant::now(),
    );
    let mut played = ProtoResult::default();
    for line in lines {
        if proto.phase() == ProtoPhase::Ready {
            proto.begin(&request(), Instant::now());
        }
        match proto.read_line(line) {
            Ok(output) => played.note(output),
            Err(error) => {
                played.error = Some(error.to_string());
                break;
            }
        }
    }
    played
}

impl ProtoResult {
    fn note(&mut self, output: ProtoOutput) {
        let read = |line: &Vec<u8>| serde_json::from_slice::<Value>(line).unwrap();
        self.written.extend(output.write.iter().map(read));
        for event in output.events {
            assert_eq!(self.outcome, None, "no event after the end");
            match event {
                Event::Heartbeat | Event::Used(_) => {}
                Event::Text(text) => self.text += &text,
                Event::Reasoning(text) => self.reasoning += &text,
                Event::Finished(outcome) => self.outcome = Some(outcome),
                other => panic!("unexpected {other:?}"),
            }
        }
    }
}

fn transcript(name: &str) -> String {
    let folder = concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/../tests/golden/codex/proto-0.42.0"
    );
    std::fs::read_to_string(format!("{folder}/{name}.jsonl")).unwrap()
}

fn completed(usage: Option<(u64, u64, u64, u64)>) -> Outcome {
    ended(FinishReason::Stop, usage)
}

fn ended(stop: FinishReason, usage: Option<(u64, u64, u64, u64)>) -> Outcome {
    let usage = usage.map(|(input, cached, output, reasoning)| Usage {
        input_tokens: input,
        cached_input_tokens: cached,
        output_tokens: output,
        reasoning_tokens: reasoning,
    });
    Outcome::Completed { stop, usage }
}

/// The transcripts, with the text and the outcome of each.
fn table() -> Vec<(&'static str, &'static str, Outcome)> {
    const HELLO: &str = "Hello from the mock.";
    let hour = Some(Duration::from_secs(3600));
    let failed = Outcome::Failed;
    let rejected = |text: &str| failed(TurnError::Rejected(text.into()));
    let one_call = || completed(Some((11, 3, 5, 0)));
    let two_calls = || completed(Some((22, 6, 10, 0)));
    vec![
        ("plain", HELLO, one_call()),
        ("user-turn", HELLO, one_call()),
        ("image", HELLO, one_call()),
        ("rate-limit-headers", HELLO, one_call()),
        (
            "two-messages",
            "Let me check.\n\nHello from the mock.",
            one_call(),
        ),
        ("reasoning", HELLO, completed(Some((21, 4, 40, 32)))),
        ("approval", HELLO, two_calls()),
        ("patch-denied", HELLO, two_calls()),
        ("approval-policy-never", HELLO, two_calls()),
        ("exec-auto", HELLO, two_calls()),
        ("refusal", "", completed(Some((11, 3, 5, 0)))),
        ("interrupt", HELLO, Outcome::Interrupted),
        (
            "stream-cut-once",
            "Hello from",
            failed(TurnError::ProviderFailed),
        ),
        (
            "stream-cut",
            "Hello from",
            failed(TurnError::ProviderFailed),
        ),
        ("incomplete", HELLO, failed(TurnError::ProviderFailed)),
        ("model-400", "", rejected("mock says 400")),
        ("model-401", "", failed(TurnError::Unauthorized)),
        (
            "model-404",
            "",
            failed(TurnError::ModelNotFound("mock says 404".to_owned())),
        ),
        ("model-429", "", failed(TurnError::ProviderRateLimited)),
        ("model-500", "", failed(TurnError::ProviderFailed)),
        ("context-length", "", failed(TurnError::ContextLength)),
        ("env-key-missing", "", failed(TurnError::Unavailable)),
        (
            "usage-limit",
            "",
            failed(TurnError::QuotaExceeded { retry_after: hour }),
        ),
    ]
}

#[test]
fn each_transcript_gives_its_text_once_and_its_outcome() {
    for (name, text, outcome) in table() {
        let played = play(transcript(name).lines());
        assert_eq!(played.text, text, "{name}");
        assert_eq!(played.outcome, Some(outcome), "{name}");
    }
}

#[test]
fn both_event_shapes_give_the_same_result() {
    for (name, ..) in table() {
        let lines = transcript(name);
        let at_the_top = |line: &str| {
            let line: Value = serde_json::from_str(line).unwrap();
            line["msg"].to_string()
        };
        let type_at_the_top = |line: &str| {
            let mut line: Value = serde_json::from_str(line).unwrap();
            line["type"] = line["msg"].as_object_mut().unwrap().remove("type").unwrap();
            line.to_string()
        };
        let expected = play(lines.lines());
        for shape in [&at_the_top as &dyn Fn(&str) -> String, &type_at_the_top] {
            let lines: Vec<_> = lines.lines().map(shape).collect();
            assert_eq!(play(lines.iter().map(String::as_str)), expected, "{name}");
        }
    }
}

#[test]
fn reasoning_is_sent_once_with_separated_parts() {
    let expected = "**Thinking about it**\n\nFirst part.\n\n**Second thoughts**\n\nMore.";
    let lines = transcript("reasoning");
    assert_eq!(play(lines.lines()).reasoning, expected);
    let without_deltas = lines.lines().filter(|line| !line.contains("_delta"));
    let played = play(without_deltas);
    assert_eq!(played.reasoning, expected);
    assert_eq!(played.text, "Hello from the mock.");
}

#[test]
fn messages_without_deltas_are_sent() {
    let lines = transcript("two-messages");
    let without_deltas = lines.lines().filter(|line| !line.contains("_delta"));
    let expected = "Let me check.\n\nHello from the mock.";
    assert_eq!(play(without_deltas).text, expected);
    let last_only = lines.lines().filter(|line| {
        !line.contains("agent_message_delta") && !line.contains("\"agent_message\"")
    });
    assert_eq!(play(last_only).text, "Hello from the mock.");
}

#[test]
fn message_with_deltas_of_its_beginning_is_completed() {
    let lines = transcript("two-messages");
    let last_delta = lines
        .lines()
        .rfind(|line| line.contains("agent_message_delta"))
        .unwrap();
    let without_the_last = lines.lines().filter(|line| *line != last_delta);
    let expected = "Let me check.\n\nHello from the mock.";
    assert_eq!(play(without_the_last).text, expected);
}

#[test]
fn approval_requests_are_denied_at_once() {
    for (name, op) in [
        ("approval", "exec_approval"),
        ("patch-denied", "patch_approval"),
    ] {
        let played = play(transcript(name).lines());
        let op = json!({"type": op, "id": "turn", "decision": "denied"});
        assert_eq!(
            played.written,
            [json!({"id": "denial", "op": op})],
            "{name}"
        );
    }
}

#[test]
fn command_that_ran_ends_the_child() {
    let played = play(transcript("approval-approved").lines());
    assert_eq!(played.outcome, None);
    assert!(played.error.unwrap().contains("a command ran"));
}

#[test]
fn exhausted_plan_resets_with_its_window() {
    let window = r#"{"msg":{"type":"token_count","info":null,"rate_limits":{"primary":{"used_percent":100.0,"resets_in_seconds":90},"secondary":{"used_percent":40.0,"resets_in_seconds":5000}}}}"#;
    let recorded = transcript("usage-limit");
    let lines: Vec<_> = recorded
        .lines()
        .map(|line| {
            if line.contains("token_count") {
                window
            } else {
                line
            }
        })
        .collect();
    let Some(Outcome::Failed(TurnError::QuotaExceeded {
        retry_after: Some(wait),
    })) = play(lines).outcome
    else {
        panic!("the plan is exhausted");
    };
    let window = Duration::from_secs(60)..=Duration::from_secs(90);
    assert!(window.contains(&wait), "{wait:?}");
}

#[test]
fn turn_is_submitted_with_model_effort_and_the_policies_of_the_arguments() {
    let mut proto = ProtoSession::start(
        "/work".to_owned(),
        SharedRateLimits::default(),
        Instant::now(),
    );
    let ready = transcript("plain");
    proto.read_line(ready.lines().next().unwrap()).unwrap();
    let output = proto.begin(&request(), Instant::now());
    assert_eq!(output.write.len(), 1);
    assert_eq!(output.write[0].last(), Some(&b'\n'));
    let turn: Value = serde_json::from_slice(&output.write[0]).unwrap();
    let op = json!({
        "type": "user_turn", "items": [{"type": "text", "text": "hi"}], "cwd": "/work",
        "approval_policy": "never", "sandbox_policy": {"mode": "read-only"},
        "model": "gpt-5", "effort": "low", "summary": "auto",
    });
    assert_eq!(turn, json!({"id": "turn", "op": op}));
}

#[test]
fn silence_has_a_deadline_while_an_event_is_due() {
    let now = Instant::now();
    let mut proto = ProtoSession::start("/work".to_owned(), SharedRateLimits::default(), now);
    let due = |proto: &ProtoSession| {
        let deadline = proto.deadline();
        deadline.map(|(at, error)| (at - now, error.to_string()))
    };
    let silent = |event: &str| format!("{event} timed out");
    let start = Some((START_TIMEOUT, silent("session_configured")));
    assert_eq!(due(&proto), start);
    let recorded = transcript("plain");
    let mut lines = recorded.lines();
    proto.read_line(lines.next().unwrap()).unwrap();
    assert_eq!(due(&proto), None, "it waits for a turn");
    proto.begin(&request(), now);
    assert_eq!(due(&proto), Some((TASK_TIMEOUT, silent("task_started"))));
    proto.read_line(lines.next().unwrap()).unwrap();
    assert_eq!(due(&proto), None, "the turn has timers of its own");
}

#[test]
fn invalid_line_ends_the_child_and_unknown_event_does_not() {
    let start = r#"{"id":"","msg":{"type":"session_configured"}}"#;
    let unknown = r#"{"id":"turn","msg":{"type":"something_new","delta":{"x":1}}}"#;
    let played = play([start, unknown]);
    assert_eq!(played, ProtoResult::default());
    for line in [
        "",
        "not json",
        "[1]",
        "{}",
        r#"{"msg":7}"#,
        r#"{"msg":{"type":"agent_message_delta"}}"#,
    ] {
        assert!(play([start, line]).error.is_some(), "{line:?}");
    }
}
