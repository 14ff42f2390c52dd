//! The response to a request without a script: a few sentences for a first user of the stack.
//! It depends on the request alone, so that tests can assert it.

use std::num::NonZeroUsize;

use crate::scripted_model::request::ModelRequest;
use crate::scripted_model::script::ResponseHead;
use crate::scripted_model::script::{
    AutoStep, ModelAction, Pace, Script, ScriptedResponse, StreamEnd, WriteMode,
};

/// Maximum characters of the prompt in the quotation.
const QUOTED_CHARS: usize = 80;

/// About one token a delta, at the speed of a fast model.
const PACE: Pace = Pace {
    delta_chars: NonZeroUsize::new(4),
    delay_ms: 15,
    writes: WriteMode::PerEvent,
};

/// The script of the demo response.
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
        response: ScriptedResponse::Stream {
            head: ResponseHead::default(),
            actions: vec![ModelAction::Auto(AutoStep { words }, PACE)],
            end: StreamEnd::Completed,
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
    fn quotation_is_one_short_line() {
        assert_eq!(quote(" one\n two  three "), "one two three");
        assert_eq!(quote(&"ä".repeat(100)), format!("{}…", "ä".repeat(80)));
    }
}
