//! What a client asks: in each dialect, streamed or not, small or big, alone or in conversation, and what it may expect.
//! OpenAI API reference; scripts are those of `crate::scripted_model`.

use std::time::Duration;

use fastrand::Rng;
use serde_json::{Value, json};

use crate::chaos::answer::{Answer, Dialect};
use crate::chaos::verdict::Expected;

/// One in so many clients leaves before the end.
const LEAVERS: usize = 8;

/// Longest time after which they do, in milliseconds: some have no head by then, some have all but the end.
const MAX_STAY_MS: u64 = 1500;

/// One in so many reads slowly.
const SLOW_READERS: usize = 6;

/// Bytes of a big prompt.
const BIG: std::ops::Range<usize> = 100_000..1_000_000;

/// What a client has in mind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Talk {
    /// One question in a dialect.
    Plain(Dialect),
    /// One question with a long prompt.
    Big,
    /// A question, and a second one that reads back the first.
    Conversation,
    /// A question whose answer is a call, and the call's result.
    Tool,
    /// The model breaks off.
    Cut,
    /// The model falls silent.
    Silence,
}

/// One request, and what must come of it.
#[derive(Debug)]
pub(super) struct Question {
    pub(super) dialect: Dialect,
    pub(super) body: Value,
    pub(super) expected: Expected,
    /// Whether the model does what must not look like success.
    pub(super) fails: bool,
    pub(super) slow: bool,
    /// When the client leaves.
    pub(super) leaves_after: Option<Duration>,
}

impl Talk {
    const ALL: [Self; 11] = [
        Self::Plain(Dialect::Chat),
        Self::Plain(Dialect::Chat),
        Self::Plain(Dialect::Completions),
        Self::Plain(Dialect::Responses),
        Self::Plain(Dialect::Responses),
        Self::Big,
        Self::Conversation,
        Self::Conversation,
        Self::Tool,
        Self::Cut,
        Self::Silence,
    ];

    /// Any of them.
    pub(super) fn any(rng: &mut Rng) -> Self {
        Self::ALL[rng.usize(..Self::ALL.len())]
    }

    /// Its row in the report.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Plain(Dialect::Chat) => "chat",
            Self::Plain(Dialect::Completions) => "completion",
            Self::Plain(Dialect::Responses) => "response",
            Self::Big => "big prompt",
            Self::Conversation => "conversation",
            Self::Tool => "tool",
            Self::Cut => "cut",
            Self::Silence => "silence",
        }
    }

    /// The first question of a client that puts `mark` into all that it wants to hear.
    pub(super) fn open(self, mark: &str, rng: &mut Rng) -> Question {
        let canary = canary(mark, rng);
        let said = said(&canary, rng);
        let fails = matches!(self, Self::Cut | Self::Silence);
        let part = json!({"text": canary, "open": true});
        let (dialect, script) = match self {
            Self::Plain(dialect) => (dialect, said),
            Self::Big => (Dialect::Chat, said),
            Self::Conversation => (Dialect::Responses, said),
            Self::Tool => (Dialect::Chat, json!([[call(&canary)], said])),
            Self::Cut => (any_dialect(rng), json!([part, {"cut": "abort"}])),
            Self::Silence => (
                any_dialect(rng),
                json!([part, {"hold": "nobody lets go"}, {"text": "."}]),
            ),
        };
        let mut prompt = format!("[[model:{script}]]");
        if self == Self::Big {
            prompt.insert_str(0, &mark.repeat(rng.usize(BIG) / mark.len()));
        }
        let mut body = ask(dialect, &prompt, rng);
        let mut expected = Expected::Text(canary.clone());
        if self == Self::Tool {
            body["tools"] = json!([{"type": "function", "function": {"name": "look"}}]);
            expected = Expected::Call(arguments(&canary));
        }
        Question::of(dialect, body, expected, fails, rng)
    }

    /// What a client asks next that asked `question` and had `answer`.
    pub(super) fn follow(
        self,
        question: &Question,
        answer: &Answer,
        rng: &mut Rng,
    ) -> Option<Question> {
        match (self, &question.expected) {
            (Self::Conversation, Expected::Text(canary)) => {
                let mut body = ask(Dialect::Responses, r#"[[model:{"echo":"input"}]]"#, rng);
                body["previous_response_id"] = json!(answer.id);
                let quote = Expected::Quote(canary.clone());
                Some(Question::of(Dialect::Responses, body, quote, false, rng))
            }
            (Self::Tool, Expected::Call(arguments)) => {
                let mut body = question.body.clone();
                let messages = body["messages"].as_array_mut()?;
                let function = json!({"name": "look", "arguments": arguments});
                let call = json!({"id": "c1", "type": "function", "function": function});
                messages.push(json!({"role": "assistant", "content": null, "tool_calls": [call]}));
                messages.push(json!({"role": "tool", "tool_call_id": "c1", "content": "seen"}));
                let canary: Value = serde_json::from_str(arguments).ok()?;
                let text = Expected::Text(canary["canary"].as_str()?.to_owned());
                Some(Question::of(Dialect::Chat, body, text, false, rng))
            }
            _ => None,
        }
    }
}

impl Question {
    fn of(dialect: Dialect, body: Value, expected: Expected, fails: bool, rng: &mut Rng) -> Self {
        let leaves = rng.usize(..LEAVERS) == 0;
        let stay = Duration::from_millis(rng.u64(..MAX_STAY_MS));
        Self {
            dialect,
            body,
            expected,
            fails,
            slow: rng.usize(..SLOW_READERS) == 0,
            leaves_after: leaves.then_some(stay),
        }
    }

    /// Whether the answer comes as a stream.
    pub(super) fn streamed(&self) -> bool {
        self.body["stream"] == true
    }
}

fn any_dialect(rng: &mut Rng) -> Dialect {
    [Dialect::Chat, Dialect::Completions, Dialect::Responses][rng.usize(..3)]
}

fn ask(dialect: Dialect, prompt: &str, rng: &mut Rng) -> Value {
    let stream = rng.bool();
    let mut body = json!({"model": "codex-5", "stream": stream});
    match dialect {
        Dialect::Chat => body["messages"] = json!([{"role": "user", "content": prompt}]),
        Dialect::Completions => body["prompt"] = json!(prompt),
        Dialect::Responses => body["input"] = json!(prompt),
    }
    body
}

fn canary(mark: &str, rng: &mut Rng) -> String {
    let large = rng.usize(..8) == 0;
    let length = rng.usize(100..if large { 40_000 } else { 3000 });
    mark.chars().cycle().take(length).collect()
}

/// A message that comes piece by piece, and a bill with something in each of its rows.
fn said(canary: &str, rng: &mut Rng) -> Value {
    let deltas = rng.usize(1..60);
    let delta_chars = canary.len().div_ceil(deltas);
    let message = json!({"text": canary, "delta_chars": delta_chars, "delay_ms": rng.u64(..25)});
    let usage = json!({"cached_tokens": rng.u64(..9), "reasoning_tokens": rng.u64(..9)});
    json!([message, {"usage": usage}])
}

fn call(canary: &str) -> Value {
    json!({"call": "look", "call_id": "c1", "arguments": arguments(canary)})
}

fn arguments(canary: &str) -> String {
    json!({"canary": canary}).to_string()
}
