//! Scripts as JSON: finds the kind of each step, reads its options, checks the order of the steps.
//! The schema is the table in the docs of the parent module.

use std::time::Duration;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Error, Map, Value};

use super::head::Head;
use super::steps::{Act, Answer, End, Message, Pace, Script, Status, Wait};

impl Script {
    /// Reads a script: an array of steps, or one step alone.
    ///
    /// # Errors
    /// Names the step, counted from 1, and what is wrong with it.
    pub fn parse(value: Value) -> Result<Self, Error> {
        let values = match value {
            Value::Array(values) => values,
            one => vec![one],
        };
        let mut draft = Draft::default();
        for (number, value) in (1..).zip(values) {
            let step = parse_step(value).map_err(|error| in_step(number, &error))?;
            draft.add(step).map_err(|error| in_step(number, &error))?;
        }
        draft.finish().map_err(Error::custom)
    }
}

impl<'de> Deserialize<'de> for Script {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// One member of the array, before it has found its place in the script.
enum Step {
    Act(Act),
    Head(Head),
    Status(Status),
    End(End),
}

type ParseStep = fn(Fields) -> Result<Step, Error>;

/// The member that names a step, and how the step is read; the first one that is there decides.
const KINDS: [(&str, ParseStep); 16] = [
    ("text", |step| message("text", step)),
    ("chars", |step| message("chars", step)),
    ("echo", |step| message("echo", step)),
    ("refusal", |step| message("refusal", step)),
    ("reasoning", |step| paced(step, Act::Reasoning)),
    ("call", |step| paced(step, Act::Call)),
    ("custom_call", |step| paced(step, Act::CustomCall)),
    ("auto", |step| paced(step, Act::Auto)),
    ("pause_ms", |step| {
        let pause = Duration::from_millis(sole(step)?);
        Ok(Step::Act(Act::Wait(Wait::Pause(pause))))
    }),
    ("hold", |step| {
        let name = sole(step)?;
        Ok(Step::Act(Act::Wait(Wait::Hold(name))))
    }),
    ("usage", |step| Ok(Step::Act(Act::Usage(sole(step)?)))),
    ("status", |step| all(step).map(Step::Status)),
    ("head", |step| sole(step).map(Step::Head)),
    ("failed", |step| Ok(Step::End(End::Failed(all(step)?)))),
    ("incomplete", |step| {
        Ok(Step::End(End::Incomplete(sole(step)?)))
    }),
    ("cut", |step| Ok(Step::End(End::Cut(sole(step)?)))),
];

/// The options that `Pace` reads.
const PACE: [&str; 3] = ["delta_chars", "delay_ms", "writes"];

/// The members of a step that nobody has read yet.
type Fields = Map<String, Value>;

fn parse_step(value: Value) -> Result<Step, Error> {
    let Value::Object(step) = value else {
        return Err(Error::custom("a step is a JSON object"));
    };
    match KINDS.iter().find(|(kind, _)| step.contains_key(*kind)) {
        Some((_, parse)) => parse(step),
        None => {
            let kinds = KINDS.map(|(kind, _)| kind).join(", ");
            Err(Error::custom(format!("a step has one of: {kinds}")))
        }
    }
}

fn message(kind: &str, mut step: Fields) -> Result<Step, Error> {
    let pace = all(split_off(&mut step, &PACE))?;
    let content = all(split_off(&mut step, &[kind]))?;
    let options = all(step)?;
    Ok(Step::Act(Act::Message(Message { content, options }, pace)))
}

fn paced<T: DeserializeOwned>(
    mut step: Fields,
    of: impl Fn(T, Pace) -> Act,
) -> Result<Step, Error> {
    let pace = all(split_off(&mut step, &PACE))?;
    Ok(Step::Act(of(all(step)?, pace)))
}

fn all<T: DeserializeOwned>(fields: Fields) -> Result<T, Error> {
    serde_json::from_value(Value::Object(fields))
}

/// The value of a step that has no options.
fn sole<T: DeserializeOwned>(fields: Fields) -> Result<T, Error> {
    let names = fields.keys().cloned().collect::<Vec<_>>().join(", ");
    let mut values = fields.into_values();
    match (values.next(), values.next()) {
        (Some(value), None) => serde_json::from_value(value),
        _ => Err(Error::custom(format!("these do not go together: {names}"))),
    }
}

fn split_off(step: &mut Fields, names: &[&str]) -> Fields {
    names
        .iter()
        .filter_map(|name| step.remove_entry(*name))
        .collect()
}

/// A script that is being arranged; refuses steps that no model API could play in this place.
#[derive(Default)]
struct Draft {
    before: Vec<Wait>,
    head: Option<Head>,
    acts: Vec<Act>,
    open_message: bool,
    status: Option<Status>,
    end: Option<End>,
}

impl Draft {
    fn add(&mut self, step: Step) -> Result<(), &'static str> {
        if self.status.is_some() || self.end.is_some() {
            return Err("nothing comes after an end");
        }
        let begun = self.head.is_some() || !self.acts.is_empty();
        match step {
            Step::Head(_) | Step::Status(_) if begun => return Err("this comes before all output"),
            Step::Head(head) => self.head = Some(head),
            Step::Status(status) => self.status = Some(status),
            Step::Act(Act::Wait(wait)) if !begun => self.before.push(wait),
            Step::Act(act) => self.add_act(act)?,
            Step::End(End::Completed | End::Incomplete(_)) if self.open_message => {
                return Err(OPEN_MESSAGE);
            }
            Step::End(end) => self.end = Some(end),
        }
        Ok(())
    }

    fn add_act(&mut self, act: Act) -> Result<(), &'static str> {
        match &act {
            Act::Message(message, _) => self.open_message = message.options.open,
            Act::Reasoning(..) | Act::Call(..) | Act::CustomCall(..) | Act::Auto(..) => {
                if self.open_message {
                    return Err(OPEN_MESSAGE);
                }
            }
            Act::Wait(_) | Act::Usage(_) => {}
        }
        self.acts.push(act);
        Ok(())
    }

    fn finish(self) -> Result<Script, &'static str> {
        let answer = match (self.status, self.end) {
            (Some(status), _) => Answer::Status(status),
            (None, None) if self.open_message => return Err(OPEN_MESSAGE),
            (None, end) => Answer::Stream {
                head: self.head.unwrap_or_default(),
                acts: self.acts,
                end: end.unwrap_or(End::Completed),
            },
        };
        Ok(Script {
            before: self.before,
            answer,
        })
    }
}

const OPEN_MESSAGE: &str = "an open message is gone on with, or the answer breaks off";

fn in_step(number: usize, problem: &impl std::fmt::Display) -> Error {
    Error::custom(format!("step {number}: {problem}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_refused(script: Value, why: &str) {
        let error = Script::parse(script).expect_err("must be refused");
        assert!(error.to_string().contains(why), "{error}");
    }

    #[test]
    fn one_step_needs_no_brackets() {
        let script = Script::parse(json!({"text": "Hello", "delta_chars": 3, "delay_ms": 20}))
            .expect("is a script");
        let Answer::Stream { acts, end, .. } = script.answer else {
            panic!("text is a stream");
        };
        assert!(matches!(
            &acts[..],
            [Act::Message(_, Pace { delay_ms: 20, .. })]
        ));
        assert!(matches!(end, End::Completed));
    }

    #[test]
    fn every_kind_is_read() {
        let stream = json!([
            {"pause_ms": 5},
            {"hold": "before the head"},
            {"head": {"headers": {"a": "b"}, "rate_limits": {"primary": {"used_percent": 12.5, "window_minutes": 300}}}},
            {"text": "a", "phase": "commentary", "open": true},
            {"hold": "in the message"},
            {"chars": 7, "writes": "burst"},
            {"echo": "tools"},
            {"refusal": "no", "writes": {"bytes": 5}},
            {"reasoning": ["a", "b"], "raw": "r", "encrypted_content": "e", "delay_ms": 1},
            {"call": "f", "arguments": {"a": 1}, "call_id": "c", "namespace": "n"},
            {"custom_call": "f", "input": "text", "call_id": "c"},
            {"usage": {"input_tokens": 1, "cached_tokens": 2, "output_tokens": 3, "reasoning_tokens": 4}},
            {"failed": "server_error", "message": "m"},
        ]);
        let script = Script::parse(stream).expect("is a script");
        assert_eq!(script.before.len(), 2);
        let Answer::Stream { acts, end, .. } = script.answer else {
            panic!("is a stream");
        };
        assert_eq!(acts.len(), 9);
        assert!(matches!(end, End::Failed(_)));
        for alone in [
            json!({"status": 429, "error": {"type": "t"}, "head": {"headers": {"retry-after": "1"}}}),
            json!({"incomplete": "max_output_tokens"}),
            json!({"cut": "abort"}),
        ] {
            Script::parse(alone).expect("is a script");
        }
    }

    #[test]
    fn a_mistake_is_named_with_its_step() {
        check_refused(
            json!([{"text": "a"}, {"txt": "b"}]),
            "step 2: a step has one of: text,",
        );
        check_refused(
            json!({"text": "a", "delta_char": 1}),
            "unknown field `delta_char`",
        );
        check_refused(
            json!({"text": 5}),
            "invalid type: integer `5`, expected a string",
        );
        check_refused(json!({"text": "a", "hold": "b"}), "unknown field `hold`");
        check_refused(
            json!({"hold": "b", "delay_ms": 1}),
            "do not go together: delay_ms, hold",
        );
        check_refused(json!({"text": "a", "delta_chars": 0}), "nonzero");
        check_refused(json!("text"), "a step is a JSON object");
        check_refused(json!({"status": 200}), "expected an error status");
        check_refused(
            json!({"head": {"headers": {"a b": "c"}}}),
            "invalid HTTP header name",
        );
    }

    #[test]
    fn an_order_that_cannot_be_played_is_refused() {
        check_refused(
            json!([{"cut": "clean"}, {"text": "a"}]),
            "step 2: nothing comes after",
        );
        check_refused(
            json!([{"text": "a"}, {"head": {}}]),
            "step 2: this comes before",
        );
        check_refused(
            json!([{"text": "a"}, {"status": 500}]),
            "step 2: this comes before",
        );
        check_refused(json!([{"text": "a", "open": true}]), "an open message");
        check_refused(
            json!([{"text": "a", "open": true}, {"call": "f"}]),
            "step 2: an open message",
        );
    }
}
