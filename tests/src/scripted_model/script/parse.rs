//! Scripts as JSON: finds the kind of each step, reads its options, checks the order of the steps.
//! The schema is the table in the docs of `scripted_model`.

use std::time::Duration;

use serde::de::{DeserializeOwned, Error as _};
use serde::{Deserialize, Deserializer};
use serde_json::{Error, Map, Value};

use super::head::ResponseHead;
use super::steps::{
    ErrorStep, MessageStep, ModelAction, Pace, Script, ScriptedResponse, StreamEnd, Wait,
};

impl Script {
    /// Reads a script: an array of steps, or one step alone.
    ///
    /// # Errors
    /// Names the step, counted from 1, and describes the mistake.
    pub fn parse(value: Value) -> Result<Self, Error> {
        let values = match value {
            Value::Array(values) => values,
            one => vec![one],
        };
        let mut builder = ScriptBuilder::default();
        for (number, value) in (1..).zip(values) {
            let step = parse_step(value).map_err(|error| in_step(number, &error))?;
            builder.add(step).map_err(|error| in_step(number, &error))?;
        }
        builder.finish().map_err(Error::custom)
    }
}

impl<'de> Deserialize<'de> for Script {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(Value::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

/// An element of the array, before its position in the script is checked.
enum Step {
    ModelAction(ModelAction),
    Head(ResponseHead),
    Status(ErrorStep),
    End(StreamEnd),
}

type ParseStep = fn(Fields) -> Result<Step, Error>;

/// The field that names a step, and the parser of the step; the first matching entry decides.
const KINDS: [(&str, ParseStep); 16] = [
    ("text", |step| message("text", step)),
    ("chars", |step| message("chars", step)),
    ("echo", |step| message("echo", step)),
    ("refusal", |step| message("refusal", step)),
    ("reasoning", |step| paced(step, ModelAction::Reasoning)),
    ("call", |step| paced(step, ModelAction::Call)),
    ("custom_call", |step| paced(step, ModelAction::CustomCall)),
    ("auto", |step| paced(step, ModelAction::Auto)),
    ("pause_ms", |step| {
        let pause = Duration::from_millis(sole(step)?);
        Ok(Step::ModelAction(ModelAction::Wait(Wait::Pause(pause))))
    }),
    ("hold", |step| {
        let name = sole(step)?;
        Ok(Step::ModelAction(ModelAction::Wait(Wait::Hold(name))))
    }),
    ("usage", |step| {
        Ok(Step::ModelAction(ModelAction::Usage(sole(step)?)))
    }),
    ("status", |step| all(step).map(Step::Status)),
    ("head", |step| sole(step).map(Step::Head)),
    ("failed", |step| {
        Ok(Step::End(StreamEnd::Failed(all(step)?)))
    }),
    ("incomplete", |step| {
        Ok(Step::End(StreamEnd::Incomplete(sole(step)?)))
    }),
    ("cut", |step| Ok(Step::End(StreamEnd::Cut(sole(step)?)))),
];

/// The options that `Pace` reads.
const PACE: [&str; 3] = ["delta_chars", "delay_ms", "writes"];

/// The fields of a step that are not parsed yet.
type Fields = Map<String, Value>;

fn parse_step(value: Value) -> Result<Step, Error> {
    let Value::Object(step) = value else {
        return Err(Error::custom("a step must be a JSON object"));
    };
    match KINDS.iter().find(|(kind, _)| step.contains_key(*kind)) {
        Some((_, parse)) => parse(step),
        None => {
            let kinds = KINDS.map(|(kind, _)| kind).join(", ");
            Err(Error::custom(format!("a step needs one of: {kinds}")))
        }
    }
}

fn message(kind: &str, mut step: Fields) -> Result<Step, Error> {
    let pace = all(split_off(&mut step, &PACE))?;
    let content = all(split_off(&mut step, &[kind]))?;
    let options = all(step)?;
    Ok(Step::ModelAction(ModelAction::Message(
        MessageStep { content, options },
        pace,
    )))
}

fn paced<T: DeserializeOwned>(
    mut step: Fields,
    of: impl Fn(T, Pace) -> ModelAction,
) -> Result<Step, Error> {
    let pace = all(split_off(&mut step, &PACE))?;
    Ok(Step::ModelAction(of(all(step)?, pace)))
}

fn all<T: DeserializeOwned>(fields: Fields) -> Result<T, Error> {
    serde_json::from_value(Value::Object(fields))
}

/// The value of a step without options.
fn sole<T: DeserializeOwned>(fields: Fields) -> Result<T, Error> {
    let names = fields.keys().cloned().collect::<Vec<_>>().join(", ");
    let mut values = fields.into_values();
    match (values.next(), values.next()) {
        (Some(value), None) => serde_json::from_value(value),
        _ => Err(Error::custom(format!(
            "these fields cannot be combined: {names}"
        ))),
    }
}

fn split_off(step: &mut Fields, names: &[&str]) -> Fields {
    names
        .iter()
        .filter_map(|name| step.remove_entry(*name))
        .collect()
}

/// Arranges the steps of a script; rejects steps that a model API could not send at this position.
#[derive(Default)]
struct ScriptBuilder {
    before: Vec<Wait>,
    head: Option<ResponseHead>,
    actions: Vec<ModelAction>,
    open_message: bool,
    status: Option<ErrorStep>,
    end: Option<StreamEnd>,
}

impl ScriptBuilder {
    fn add(&mut self, step: Step) -> Result<(), &'static str> {
        if self.status.is_some() || self.end.is_some() {
            return Err("no step may follow an end");
        }
        let begun = self.head.is_some() || !self.actions.is_empty();
        match step {
            Step::Head(_) | Step::Status(_) if begun => {
                return Err("this step must come before all output");
            }
            Step::Head(head) => self.head = Some(head),
            Step::Status(status) => self.status = Some(status),
            Step::ModelAction(ModelAction::Wait(wait)) if !begun => self.before.push(wait),
            Step::ModelAction(action) => self.add_act(action)?,
            Step::End(StreamEnd::Completed | StreamEnd::Incomplete(_)) if self.open_message => {
                return Err(OPEN_MESSAGE);
            }
            Step::End(end) => self.end = Some(end),
        }
        Ok(())
    }

    fn add_act(&mut self, action: ModelAction) -> Result<(), &'static str> {
        match &action {
            ModelAction::Message(message, _) if message.options.open && message.options.whole => {
                return Err("a whole message cannot be open");
            }
            ModelAction::Message(message, _) => self.open_message = message.options.open,
            ModelAction::Reasoning(..)
            | ModelAction::Call(..)
            | ModelAction::CustomCall(..)
            | ModelAction::Auto(..) => {
                if self.open_message {
                    return Err(OPEN_MESSAGE);
                }
            }
            ModelAction::Wait(_) | ModelAction::Usage(_) => {}
        }
        self.actions.push(action);
        Ok(())
    }

    fn finish(self) -> Result<Script, &'static str> {
        let response = match (self.status, self.end) {
            (Some(status), _) => ScriptedResponse::Status(status),
            (None, None) if self.open_message => return Err(OPEN_MESSAGE),
            (None, end) => ScriptedResponse::Stream {
                head: self.head.unwrap_or_default(),
                actions: self.actions,
                end: end.unwrap_or(StreamEnd::Completed),
            },
        };
        Ok(Script {
            before: self.before,
            response,
        })
    }
}

const OPEN_MESSAGE: &str = "an open message must be continued or the stream must be cut";

fn in_step(number: usize, problem: &impl std::fmt::Display) -> Error {
    Error::custom(format!("step {number}: {problem}"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check_rejected(script: Value, message: &str) {
        let error = Script::parse(script).expect_err("the script is invalid");
        assert!(error.to_string().contains(message), "{error}");
    }

    #[test]
    fn single_step_is_a_script() {
        let script = Script::parse(json!({"text": "Hello", "delta_chars": 3, "delay_ms": 20}))
            .expect("the script is valid");
        let ScriptedResponse::Stream { actions, end, .. } = script.response else {
            panic!("a text is a stream");
        };
        assert!(matches!(
            &actions[..],
            [ModelAction::Message(_, Pace { delay_ms: 20, .. })]
        ));
        assert!(matches!(end, StreamEnd::Completed));
    }

    #[test]
    fn every_kind_of_step_is_parsed() {
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
        let script = Script::parse(stream).expect("the script is valid");
        assert_eq!(script.before.len(), 2);
        let ScriptedResponse::Stream { actions, end, .. } = script.response else {
            panic!("the response is a stream");
        };
        assert_eq!(actions.len(), 9);
        assert!(matches!(end, StreamEnd::Failed(_)));
        for alone in [
            json!({"status": 429, "error": {"type": "t"}, "head": {"headers": {"retry-after": "1"}}}),
            json!({"incomplete": "max_output_tokens"}),
            json!({"cut": "abort"}),
        ] {
            Script::parse(alone).expect("the script is valid");
        }
    }

    #[test]
    fn parse_error_names_the_step_and_the_mistake() {
        check_rejected(
            json!([{"text": "a"}, {"txt": "b"}]),
            "step 2: a step needs one of: text,",
        );
        check_rejected(
            json!({"text": "a", "delta_char": 1}),
            "unknown field `delta_char`",
        );
        check_rejected(
            json!({"text": 5}),
            "invalid type: integer `5`, expected a string",
        );
        check_rejected(json!({"text": "a", "hold": "b"}), "unknown field `hold`");
        check_rejected(
            json!({"hold": "b", "delay_ms": 1}),
            "cannot be combined: delay_ms, hold",
        );
        check_rejected(json!({"text": "a", "delta_chars": 0}), "nonzero");
        check_rejected(json!("text"), "a step must be a JSON object");
        check_rejected(json!({"status": 200}), "expected an error status");
        check_rejected(
            json!({"head": {"headers": {"a b": "c"}}}),
            "invalid HTTP header name",
        );
    }

    #[test]
    fn impossible_order_of_steps_is_rejected() {
        check_rejected(
            json!([{"cut": "clean"}, {"text": "a"}]),
            "step 2: no step may follow",
        );
        check_rejected(
            json!([{"text": "a"}, {"head": {}}]),
            "step 2: this step must come before",
        );
        check_rejected(
            json!([{"text": "a"}, {"status": 500}]),
            "step 2: this step must come before",
        );
        check_rejected(json!([{"text": "a", "open": true}]), "an open message");
        check_rejected(
            json!({"text": "a", "open": true, "whole": true}),
            "a whole message cannot be open",
        );
        check_rejected(
            json!([{"text": "a", "open": true}, {"call": "f"}]),
            "step 2: an open message",
        );
    }
}
