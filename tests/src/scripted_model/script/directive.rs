//! Directives: finds `[[model:...]]` in a prompt and selects the script for this request of the turn.
//! The docs of `scripted_model` describe the syntax.

use serde::de::Error as _;
use serde_json::{Error, Value};

use super::steps::Script;

const BEGIN: &str = "[[model:";
const END: &str = "]]";

/// The script of the last directive of a prompt for a round of its turn; `None` without a directive, and after its last
/// round.
///
/// # Errors
/// Describes the mistake in the last directive. Earlier ones are ignored: they may be history, quoted or truncated.
pub(crate) fn find(prompt: &str, round: usize) -> Result<Option<Script>, Error> {
    let mut rest = prompt;
    let mut last = Ok(None);
    while let Some((_, after)) = rest.split_once(BEGIN) {
        let (directive, after) = match read(after) {
            Ok((directive, after)) => (Ok(Some(directive)), after),
            Err(error) => (Err(error), after),
        };
        (last, rest) = (directive, after);
    }
    let Some(directive) = last? else {
        return Ok(None);
    };
    rounds(directive).map(|rounds| rounds.into_iter().nth(round))
}

/// Reads the JSON of a directive and returns the text behind it.
fn read(text: &str) -> Result<(Value, &str), Error> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let directive = match values.next() {
        Some(value) => value?,
        None => return Err(Error::custom("missing JSON")),
    };
    let after = text[values.byte_offset()..].trim_start();
    match after.strip_prefix(END) {
        Some(after) => Ok((directive, after)),
        None => Err(Error::custom("the JSON must be followed by ]]")),
    }
}

/// Parses a single script, or an array of scripts with one for each round.
fn rounds(directive: Value) -> Result<Vec<Script>, Error> {
    match directive {
        Value::Array(scripts) if scripts.first().is_some_and(Value::is_array) => {
            scripts.into_iter().map(Script::parse).collect()
        }
        script => Ok(vec![Script::parse(script)?]),
    }
}

#[cfg(test)]
mod tests {
    use super::super::steps::ScriptedResponse;
    use super::*;

    #[track_caller]
    fn check(prompt: &str, round: usize, actions: Option<usize>) {
        let script = find(prompt, round).expect("the directive is valid");
        let found = script.map(|script| match script.response {
            ScriptedResponse::Stream { actions, .. } => actions.len(),
            ScriptedResponse::Status(_) => panic!("the response is a stream"),
        });
        assert_eq!(found, actions, "{prompt}");
    }

    #[test]
    fn last_directive_of_the_prompt_is_used() {
        check("no directive, [[not:{}]]", 0, None);
        check(r#"hi [[model:{"text":"a"}]] there"#, 0, Some(1));
        check(r#"[[model:[{"text":"]]"},{"text":"b"}]]]"#, 0, Some(2));
        check(
            r#"[[model:{"text":"a"}]] [[model: [{"chars":1},{"text":"a"},{"hold":"x"}] ]]"#,
            0,
            Some(3),
        );
        check(
            r#"[[model:{\"text\" escaped history [[model:{"text":"a"}]]"#,
            0,
            Some(1),
        );
        check(r#"[[model:{"text":"say [[model:nonsense]]"}]]"#, 0, Some(1));
    }

    #[test]
    fn each_round_of_a_turn_uses_its_own_script() {
        let prompt = r#"[[model:[[{"call":"f"}],[{"text":"a"},{"text":"b"}]]]]"#;
        check(prompt, 0, Some(1));
        check(prompt, 1, Some(2));
        check(prompt, 2, None);
        check(r#"[[model:{"call":"f"}]]"#, 1, None);
    }

    #[test]
    fn invalid_directive_error_describes_the_mistake() {
        for (prompt, message) in [
            (r#"[[model:{"txt":"a"}]]"#, "step 1: a step needs one of"),
            (r#"[[model:{"text":"a"}"#, "must be followed by ]]"),
            (r#"[[model:{"text":"a"]]"#, "expected `,` or `}`"),
            ("[[model:", "missing JSON"),
        ] {
            let error = find(prompt, 0).expect_err(prompt);
            assert!(error.to_string().contains(message), "{error}");
        }
    }
}
