//! The input of a tool call: an object in Anthropic's format, a text in Codex's, since a model may write invalid JSON.
//! Anthropic API reference, "Fine-grained tool streaming": invalid JSON goes into an object with the key `INVALID_JSON`.

use serde::{Deserialize, Serialize};
use serde_json::Map;
use serde_json::value::{RawValue, to_raw_value};

/// The object around arguments that are not an object.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct InvalidJson {
    #[serde(rename = "INVALID_JSON")]
    text: String,
}

/// Returns the input for the arguments that the model wrote.
pub(super) fn write(arguments: &str) -> Box<RawValue> {
    if arguments.trim().is_empty() {
        return object("{}".to_owned());
    }
    match serde_json::from_str::<Map<_, _>>(arguments) {
        Ok(_) => object(arguments.trim().to_owned()),
        Err(_not_an_object) => to_raw_value(&InvalidJson {
            text: arguments.to_owned(),
        })
        .expect("a string serialises into memory"),
    }
}

fn object(json: String) -> Box<RawValue> {
    RawValue::from_string(json).expect("the text was parsed before")
}

/// Returns the arguments that an input stands for; `None` for an input that is not an object.
pub(in crate::anthropic) fn read(input: &RawValue) -> Option<String> {
    let text = input.get();
    if let Ok(InvalidJson { text }) = serde_json::from_str(text) {
        return Some(text);
    }
    text.starts_with('{').then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_is_an_object_and_arguments_survive_the_round_trip() {
        for (arguments, input) in [
            (r#"{"b": 1,"a":[]}"#, r#"{"b": 1,"a":[]}"#),
            ("", "{}"),
            ("{\"a\":", r#"{"INVALID_JSON":"{\"a\":"}"#),
            ("[1]", r#"{"INVALID_JSON":"[1]"}"#),
        ] {
            let written = write(arguments);
            assert_eq!(written.get(), input);
            let returned = read(&written).unwrap();
            assert!(returned == arguments || arguments.is_empty(), "{arguments}");
        }
        for other in ["[]", "7", "\"x\"", "null"] {
            let input = RawValue::from_string(other.to_owned()).unwrap();
            assert_eq!(read(&input), None, "{other}");
        }
    }
}
