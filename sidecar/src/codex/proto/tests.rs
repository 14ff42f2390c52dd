//! The protocol against what real children of Codex 0.42.0 wrote (`tests/golden/codex/proto-0.42.0`), and against silence.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;

use super::session::*;
use crate::codex::rate_limits::SharedRateLimits;
use crate::turn::{
    Content, Effort, Event, FinishReason, Item, Message, Model, Outcome, Profile, Role, Summary,
    Tools, TurnError, TurnRequest, Usage,
};

/// What a client and the child were told while a transcript was read.
#[derive(Debug, Default, PartialEq)]
struct Played {
    text: String,
    reasoning: String,
    outcome: Option<Outcome>,
    written: Vec<Value>,
    broke: Option<String>,
}

fn request() -> TurnRequest {
    TurnRequest {
        profile: Profile::Chat,
        model: Model {
            name: "gpt-5".to_owned(),
            effort: Some(Effort::Low),
        },
        conversation: vec![Item::Message(Message {
            role: Role::User,
            content: vec![Content::Text("hi".to_owned())],
        })],
        tools: Tools::default(),
        schema: None,
        summary: Summary::Auto,
    }
}

fn play<'a>(lines: impl IntoIterator<Item = &'a str>) -> Played {
    let mut proto = Proto::start(
        "/work".to_owned(),
        SharedRateLimits::default(),
        Instant::now(),
    );
    let mut played = Played::default();
    for line in lines {
        if proto.phase() == Phase::Ready {
            proto.begin(&request(), Instant::now());
        }
        match proto.read_line(line) {
            Ok(step) => played.note(step),
            Err(error) => {
                played.broke = Some(error.to_string());
                break;
            }
        }
    }
    played
}

impl Played {
    fn note(&mut self, step: Step) {
        let read = |line: &Vec<u8>| serde_json::from_slice::<Value>(line).unwrap();
        self.written.extend(step.write.iter().map(read));
        for event in step.events {
            assert_eq!(self.outcome, None, "nothing comes after the end");
            match event {
                Event::Heartbeat => {}
                Event::Text(text) => self.text += &text,
                Event::Reasoning(text) => self.reasoning += &text,
                Event::Finished(outcome) => self.outcome = Some(outcome),
                other => panic!("proto has no {other:?}"),
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

/// The transcripts, the text that comes of each, and its end.
fn table() -> Vec<(&'static str, &'static str, Outcome)> {
    const HELLO: &str = "Hello from the mock.";
    let hour = Some(Duration::from_secs(3600));
    let failed = Outcome::Failed;
    let rejected = |text: &str| failed(TurnError::Rejected(text.to_owned()));
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
        (
            "refusal",
            "",
            ended(FinishReason::Refused, Some((11, 3, 5, 0))),
        ),
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
        ("model-404", "", failed(TurnError::ModelNotFound)),
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
fn each_transcript_comes_to_its_end_and_no_text_is_lost_or_doubled() {
    for (name, text, outcome) in table() {
        let played = play(transcript(name).lines());
        assert_eq!(played.text, text, "{name}");
        assert_eq!(played.outcome, Some(outcome), "{name}");
    }
}

#[test]
fn the_shapes_of_the_wild_are_read_alike() {
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
fn reasoning_is_told_once_and_its_parts_are_parted() {
    let expected = "**Thinking about it**\n\nFirst part.\n\n**Second thoughts**\n\nMore.";
    let lines = transcript("reasoning");
    assert_eq!(play(lines.lines()).reasoning, expected);
    let without_deltas = lines.lines().filter(|line| !line.contains("_delta"));
    let played = play(without_deltas);
    assert_eq!(played.reasoning, expected);
    assert_eq!(played.text, "Hello from the mock.");
}

#[test]
fn messages_without_deltas_are_told_too() {
    let lines = transcript("two-messages");
    let without_deltas = lines.lines().filter(|line| !line.contains("_delta"));
    let expected = "Let me check.\n\nHello from the mock.";
    assert_eq!(play(without_deltas).text, expected);
    let last_only = lines
        .lines()
        .filter(|line| !line.contains("agent_message_delta"));
    let last_only = last_only.filter(|line| !line.contains("\"agent_message\""));
    assert_eq!(play(last_only).text, "Hello from the mock.");
}

#[test]
fn what_asks_for_approval_is_refused_at_once() {
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
fn a_command_that_ran_ends_the_child() {
    let played = play(transcript("approval-approved").lines());
    assert_eq!(played.outcome, None);
    assert!(played.broke.unwrap().contains("a command ran"));
}

#[test]
fn a_plan_that_is_used_up_is_open_again_when_its_window_says() {
    let window = r#"{"msg":{"type":"token_count","info":null,"rate_limits":{"primary":{"used_percent":100.0,"resets_in_seconds":90},"secondary":{"used_percent":40.0,"resets_in_seconds":5000}}}}"#;
    let lines = transcript("usage-limit");
    let lines: Vec<_> = lines
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
        panic!("the plan is used up");
    };
    let window = Duration::from_secs(60)..=Duration::from_secs(90);
    assert!(window.contains(&wait), "{wait:?}");
}

#[test]
fn a_turn_is_told_with_model_effort_and_the_policies_of_the_start() {
    let mut proto = Proto::start(
        "/work".to_owned(),
        SharedRateLimits::default(),
        Instant::now(),
    );
    let ready = transcript("plain");
    proto.read_line(ready.lines().next().unwrap()).unwrap();
    let step = proto.begin(&request(), Instant::now());
    assert_eq!(step.write.len(), 1);
    assert_eq!(step.write[0].last(), Some(&b'\n'));
    let turn: Value = serde_json::from_slice(&step.write[0]).unwrap();
    let op = json!({
        "type": "user_turn", "items": [{"type": "text", "text": "hi"}], "cwd": "/work",
        "approval_policy": "never", "sandbox_policy": {"mode": "read-only"},
        "model": "gpt-5", "effort": "low", "summary": "auto",
    });
    assert_eq!(turn, json!({"id": "turn", "op": op}));
}

#[test]
fn silence_has_a_deadline_where_a_word_is_due() {
    let now = Instant::now();
    let mut proto = Proto::start("/work".to_owned(), SharedRateLimits::default(), now);
    let due = |proto: &Proto| {
        let deadline = proto.deadline();
        deadline.map(|(at, error)| (at - now, error.to_string()))
    };
    let silent = |event: &str| format!("{event} did not come in time");
    let start = Some((START_DEADLINE, silent("session_configured")));
    assert_eq!(due(&proto), start);
    let lines = transcript("plain");
    let mut lines = lines.lines();
    proto.read_line(lines.next().unwrap()).unwrap();
    assert_eq!(due(&proto), None, "it waits for a turn");
    proto.begin(&request(), now);
    assert_eq!(due(&proto), Some((TASK_DEADLINE, silent("task_started"))));
    proto.read_line(lines.next().unwrap()).unwrap();
    assert_eq!(due(&proto), None, "the turn has timers of its own");
}

#[test]
fn what_is_no_event_ends_the_child_and_what_is_unknown_does_not() {
    let start = r#"{"id":"","msg":{"type":"session_configured"}}"#;
    let unknown = r#"{"id":"turn","msg":{"type":"something_new","delta":{"x":1}}}"#;
    let played = play([start, unknown]);
    assert_eq!(played, Played::default());
    for line in [
        "",
        "not json",
        "[1]",
        "{}",
        r#"{"msg":7}"#,
        r#"{"msg":{"type":"agent_message_delta"}}"#,
    ] {
        assert!(play([start, line]).broke.is_some(), "{line:?}");
    }
}
