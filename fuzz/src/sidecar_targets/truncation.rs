//! Truncation rules: neither the text for the client nor its finish reason depends on the boundaries of the deltas.

use std::num::NonZeroU32;
use std::time::Duration;

use arbitrary::{Arbitrary, Unstructured};
use sidecar::turn::{FinishReason, ToolBlockTail, TruncationRules, Truncator};

/// Strings to which the rules react; texts also contain arbitrary strings.
const FRAGMENTS: [&str; 8] = [
    "<use_tool",
    ">",
    "</use_tool>",
    "<use_",
    "END",
    "E",
    "aab",
    "é😀",
];

#[derive(Arbitrary, Debug)]
struct TruncationScenario {
    stop: [Option<Fragment>; 3],
    max_tokens: Option<u8>,
    tail: Option<(bool, u8)>,
    deltas: Vec<Vec<Fragment>>,
}

#[derive(Arbitrary, Debug)]
enum Fragment {
    Known(u8),
    Any(String),
}

impl Fragment {
    fn as_str(&self) -> &str {
        match self {
            Self::Known(index) => FRAGMENTS[usize::from(*index) % FRAGMENTS.len()],
            Self::Any(text) => text,
        }
    }
}

pub(crate) fn check(input: &[u8]) {
    let Ok(scenario) = TruncationScenario::arbitrary_take_rest(Unstructured::new(input)) else {
        return;
    };
    let rules = scenario.rules();
    let deltas: Vec<String> = scenario
        .deltas
        .iter()
        .map(|fragments| text(fragments))
        .collect();
    let whole = deltas.concat();
    let letters = whole
        .char_indices()
        .map(|(at, letter)| &whole[at..at + letter.len_utf8()]);
    let at_once = cut(&rules, [whole.as_str()].into_iter());
    assert_eq!(cut(&rules, deltas.iter().map(String::as_str)), at_once);
    assert_eq!(cut(&rules, letters), at_once);
    assert!(
        whole.starts_with(&at_once.0) || rules.tools.is_some(),
        "{at_once:?}"
    );
    assert!(at_once.1.is_some() || rules.tools.is_some() || at_once.0 == whole);
}

impl TruncationScenario {
    fn rules(&self) -> TruncationRules {
        let stop = self
            .stop
            .iter()
            .flatten()
            .map(|fragment| fragment.as_str().to_owned());
        let tail = |(grace, max_blocks): (bool, u8)| ToolBlockTail {
            grace: grace.then_some(Duration::from_millis(1)),
            max_blocks: NonZeroU32::new(max_blocks.into()),
        };
        TruncationRules {
            stop: stop.filter(|stop| !stop.is_empty()).collect(),
            max_tokens: self.max_tokens.map(Into::into),
            tools: self.tail.map(tail),
        }
    }
}

fn text(fragments: &[Fragment]) -> String {
    fragments.iter().map(Fragment::as_str).collect()
}

/// The text for the client, and the finish reason.
fn cut<'a>(
    rules: &TruncationRules,
    deltas: impl Iterator<Item = &'a str>,
) -> (String, Option<FinishReason>) {
    let (mut cutter, mut sent) = (Truncator::new(rules), String::new());
    let now = tokio::time::Instant::now();
    for delta in deltas {
        let cut = cutter.push(delta, now);
        sent += &cut.text;
        if cut.end.is_some() {
            return (sent, cut.end);
        }
    }
    let last = cutter.flush();
    (sent + &last.text, last.end)
}
