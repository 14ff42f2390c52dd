//! The answer when nothing is scripted: a few sentences for somebody who sees the stack for the first time.
//! It depends on the request alone, so that it can be tested like any other.

use std::num::NonZeroUsize;

use crate::scripted_model::request::ModelRequest;
use crate::scripted_model::script::Head;
use crate::scripted_model::script::{Act, Answer, Auto, End, Pace, Script, Writes};

/// Characters of the prompt that are quoted.
const QUOTED_CHARS: usize = 80;

/// About a token a delta, at the speed of a quick model.
const PACE: Pace = Pace {
    delta_chars: NonZeroUsize::new(4),
    delay_ms: 15,
    writes: Writes::PerEvent,
};

/// Answers a request that no script is there for.
pub(crate) fn script(request: &ModelRequest) -> Script {
    let read = match request.tool_outputs().last() {
        Some(output) => format!("Your tool answered “{}”", quote(output)),
        None => format!("You wrote “{}”", quote(&request.last_user_text())),
    };
    let words = format!(
        "Hello! {read}, and this is all I can say to it: I am a scripted model, so no thinking happens here, but \
         everything on the way was real. Envoy checked your key, the sidecar made a turn of your request, and Codex \
         asked me as it would ask {}. Log in to Codex and start again, and a real model answers in my place.",
        request.model
    );
    Script {
        before: Vec::new(),
        answer: Answer::Stream {
            head: Head::default(),
            acts: vec![Act::Auto(Auto { words }, PACE)],
            end: End::Completed,
        },
    }
}

/// The start of a text on one line.
fn quote(text: &str) -> String {
    let line = text.split_whitespace().collect::<Vec<_>>().join(" ");
    match line.char_indices().nth(QUOTED_CHARS) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_is_one_short_line() {
        assert_eq!(quote(" one\n two  three "), "one two three");
        assert_eq!(quote(&"ä".repeat(100)), format!("{}…", "ä".repeat(80)));
    }
}
