//! Calls of custom tools: their argument is free text. Codex has no dynamic tool of this kind, so that the model is offered
//! a function with one argument, the text.

use serde::{Deserialize, Serialize};

#[derive(Serialize, Deserialize)]
struct CustomArguments<'a> {
    input: std::borrow::Cow<'a, str>,
}

/// Returns the arguments of the function for the text of a call.
pub(crate) fn write_arguments(input: &str) -> String {
    let input = input.into();
    serde_json::to_string(&CustomArguments { input }).expect("a string serialises into memory")
}

/// Returns the text of a call; what the model wrote, if it is not JSON with the text.
pub(crate) fn parse_arguments(arguments: String) -> String {
    match serde_json::from_str(&arguments) {
        Ok(CustomArguments { input }) => input.into_owned(),
        Err(_) => arguments,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_round_trips_and_other_arguments_are_taken_as_text() {
        for text in ["", "a \"b\"\n\u{e4}", "{}"] {
            assert_eq!(parse_arguments(write_arguments(text)), text);
        }
        for other in ["text(1)", "[]", "{}", "{\"input\":1}"] {
            assert_eq!(parse_arguments(other.to_owned()), other);
        }
    }
}
