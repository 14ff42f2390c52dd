//! Tests of the truncator: tables of cases, and random splits into deltas (proptest) against a naive reference.

use std::num::NonZeroU32;
use std::time::Duration;

use proptest::prelude::*;

use tokio::time::Instant;

use super::*;
use crate::turn::FinishReason;

/// The deltas of the examples of the Node proxy.
const BLOCKS: [&str; 5] = [
    "A <use_",
    "tool>…a…</use_tool>",
    " mid ",
    "<use_tool>…b…</use_tool>",
    " TAIL",
];

fn stop(sequences: &[&str]) -> TruncationRules {
    TruncationRules {
        stop: sequences.iter().map(ToString::to_string).collect(),
        ..TruncationRules::default()
    }
}

fn max_tokens(max_tokens: u64) -> TruncationRules {
    TruncationRules {
        max_tokens: Some(max_tokens),
        ..TruncationRules::default()
    }
}

fn tools(max_blocks: u32, grace: Option<Duration>) -> TruncationRules {
    TruncationRules {
        tools: Some(ToolBlockTail {
            grace,
            max_blocks: NonZeroU32::new(max_blocks),
        }),
        ..TruncationRules::default()
    }
}

/// Returns the text forwarded for each delta, the text flushed at the end, and the end.
fn run(rules: &TruncationRules, deltas: &[&str]) -> (Vec<String>, String, Option<FinishReason>) {
    let (mut truncator, mut frames) = (Truncator::new(rules), Vec::new());
    let now = Instant::now();
    for delta in deltas {
        let result = truncator.push(delta, now);
        frames.push(result.text);
        if result.end.is_some() {
            return (frames, String::new(), result.end);
        }
    }
    let last = truncator.flush();
    (frames, last.text, last.end)
}

/// Returns the whole text that is forwarded, and the end.
fn forwarded_text(rules: &TruncationRules, deltas: &[&str]) -> (String, Option<FinishReason>) {
    let (frames, flushed, end) = run(rules, deltas);
    (frames.concat() + &flushed, end)
}

#[test]
fn deltas_are_forwarded_as_early_as_possible() {
    type Case = (
        &'static [&'static str],
        &'static str,
        &'static str,
        &'static str,
        Option<FinishReason>,
    );
    let found = |index| Some(FinishReason::StopSequence(index));
    let cases: [Case; 13] = [
        (&["", "END"], "aENDb", "a", "", found(1)),
        (&[], "a||b", "a||b", "", None),
        (&[""], "text", "text", "", None),
        (&["END"], "END", "", "", found(0)),
        (&["END"], "abENDcd", "ab", "", found(0)),
        (&["END"], "abE|N|D", "ab||", "", found(0)),
        (&["END"], "E|N|x|E", "||ENx|", "E", None),
        (&["END"], "ENEN|D", "EN|", "", found(0)),
        (&["aab"], "aa|a|b", "|a|", "", found(0)),
        (&["b", "abc"], "ab|c", "|", "", found(1)),
        (&["b", "abc"], "ab|d", "|a", "", found(0)),
        (&["b", "abc"], "ab", "", "a", found(0)),
        (&["ab", "abc"], "xabc", "x", "", found(0)),
    ];
    for (sequences, deltas, frames, flushed, end) in cases {
        let deltas: Vec<_> = deltas.split('|').collect();
        let seen = run(&stop(sequences), &deltas);
        let seen = (seen.0.join("|"), seen.1, seen.2);
        let expected = (frames.into(), flushed.into(), end);
        assert_eq!(seen, expected, "{sequences:?} {deltas:?}");
    }
}

#[test]
fn max_tokens_counts_four_characters_a_token() {
    let length = Some(FinishReason::Length);
    let cases: [(u64, &[&str], &str, Option<FinishReason>); 6] = [
        (1, &["ab", "cd"], "abcd", None),
        (1, &["ab", "cdé"], "abcd", length),
        (1, &["éé😀é", "", "é"], "éé😀é", length),
        (2, &["123456789"], "12345678", length),
        (0, &["", "a"], "", length),
        (u64::MAX, &["a"], "a", None),
    ];
    for (tokens, deltas, text, end) in cases {
        let expected = (text.into(), end);
        assert_eq!(
            forwarded_text(&max_tokens(tokens), deltas),
            expected,
            "{deltas:?}"
        );
    }
}

#[test]
fn the_first_rule_to_match_decides_the_finish_reason() {
    let both = |max_tokens| TruncationRules {
        max_tokens: Some(max_tokens),
        ..stop(&["END"])
    };
    let cases = [
        (both(1), "abcdEND", "abcd", FinishReason::StopSequence(0)),
        (both(1), "abcdeEND", "abcd", FinishReason::Length),
        (both(1), "abcEN", "abcE", FinishReason::Length),
    ];
    for (rules, text, forwarded, end) in cases {
        assert_eq!(
            forwarded_text(&rules, &[text]),
            (forwarded.into(), Some(end)),
            "{text}"
        );
    }
}

#[test]
fn tool_blocks_end_the_turn_as_in_the_node_proxy() {
    let grace = Some(Duration::from_millis(300));
    let middle = " mid <use_tool>…b…</use_tool>";
    let (all, first) = ([BLOCKS[0], BLOCKS[1], "", middle, ""], &BLOCKS[..2]);
    let cases: [(_, &[&str], _); 5] = [
        (tools(0, None), &all, None),
        (tools(0, grace), &all, None),
        (tools(1, None), first, Some(FinishReason::Stop)),
        (tools(2, grace), &all[..4], Some(FinishReason::Stop)),
        (tools(3, None), &all, None),
    ];
    for (rules, frames, end) in cases {
        let expected = (
            frames.iter().map(ToString::to_string).collect(),
            String::new(),
            end,
        );
        assert_eq!(run(&rules, &BLOCKS), expected, "{rules:?}");
    }
}

#[test]
fn a_tail_in_the_delta_of_its_block_is_dropped() {
    let cases = [
        (
            "<use_toolbox a='1'>x</use_tool>tail",
            "<use_toolbox a='1'>x</use_tool>",
        ),
        ("<use_tool></use_tool></use_tool>", "<use_tool></use_tool>"),
        ("<use_tool></use_tool", "<use_tool></use_tool"),
        ("</use_tool> no block", "</use_tool> no block"),
    ];
    for (text, forwarded) in cases {
        assert_eq!(forwarded_text(&tools(0, None), &[text]).0, forwarded);
        assert_eq!(forwarded_text(&tools(1, None), &[text]).0, forwarded);
    }
}

#[test]
fn a_block_that_ends_the_turn_releases_a_partial_stop_sequence() {
    let rules = TruncationRules {
        stop: vec!["</use_tool>\nObservation".into()],
        ..tools(1, None)
    };
    let block = "<use_tool></use_tool>";
    assert_eq!(
        forwarded_text(&rules, &[block, "\nO"]),
        (block.into(), Some(FinishReason::Stop))
    );
}

#[test]
fn grace_starts_at_the_last_text_after_a_complete_block() {
    let grace = Duration::from_millis(300);
    let mut truncator = Truncator::new(&tools(2, Some(grace)));
    let start = Instant::now();
    let block = "<use_tool></use_tool>";
    let deltas = [
        ("text", None),
        ("<use_tool>", None),
        ("</use_tool>", Some(2)),
        ("tail", Some(3)),
        ("", Some(3)),
        (block, None),
    ];
    for (second, (delta, since)) in (0..).zip(deltas) {
        truncator.push(delta, start + Duration::from_secs(second));
        let expected = since.map(|second| start + Duration::from_secs(second) + grace);
        assert_eq!(truncator.deadline(), expected, "{delta}");
    }
    let mut truncator = Truncator::new(&tools(0, Some(Duration::MAX)));
    truncator.push(block, start);
    assert_eq!(
        truncator.deadline(),
        None,
        "an unlimited grace has no deadline"
    );
}

#[test]
fn a_flush_resets_the_search_for_stop_sequences() {
    let now = Instant::now();
    let mut truncator = Truncator::new(&stop(&["END"]));
    assert_eq!(truncator.push("aEN", now).text, "a");
    assert_eq!(truncator.flush().text, "EN");
    assert_eq!(truncator.flush(), Truncated::default());
    assert_eq!(truncator.push("Db", now).text, "Db");

    let mut truncator = Truncator::new(&tools(0, None));
    truncator.push("<use_tool></use_tool>tail", now);
    assert_eq!(truncator.flush(), Truncated::default());
    assert_eq!(
        truncator.push("<use_tool></use_tool>", now).text,
        "tail<use_tool></use_tool>"
    );
}

#[test]
fn results_after_the_end_are_empty() {
    let now = Instant::now();
    let mut truncator = Truncator::new(&max_tokens(1));
    truncator.push("12345", now);
    let over = Truncated {
        text: String::new(),
        end: Some(FinishReason::Length),
    };
    assert_eq!(
        [truncator.push("6", now), truncator.flush()],
        [over.clone(), over]
    );
}

/// Reading or copying the held text again for each delta would be 64 GiB and more.
#[test]
fn work_is_linear_in_the_text_and_independent_of_the_deltas() {
    const TEXT_BYTES: usize = 1 << 20;
    let nearly = "a".repeat(1 << 16) + "b";
    let block = "<use_tool></use_tool>";
    let cases = [
        (stop(&[&nearly]), "a".repeat(TEXT_BYTES)),
        (
            tools(0, None),
            block.to_owned() + &"<use_tool".repeat(TEXT_BYTES / 9) + "</use_tool>",
        ),
        (tools(0, None), block.repeat(TEXT_BYTES / block.len())),
    ];
    for (rules, text) in cases {
        let mut truncator = Truncator::new(&rules);
        let (mut forwarded, mut moved_bytes) = (String::new(), 0);
        for at in 0..text.len() {
            let result = truncator.push(&text[at..=at], Instant::now());
            moved_bytes += result.text.capacity();
            forwarded += &result.text;
        }
        forwarded += &truncator.flush().text;
        assert!(
            forwarded == text,
            "{} of {} bytes",
            forwarded.len(),
            text.len()
        );
        assert!(moved_bytes < 16 * text.len(), "{moved_bytes} bytes moved");
    }
}

/// The rules applied to the whole text at once.
fn reference(rules: &TruncationRules, text: &str) -> (String, Option<FinishReason>) {
    let (mut text, mut end) = (text, None);
    if let Some(tail) = rules.tools {
        let max = tail.max_blocks.map_or(usize::MAX, |max| max.get() as usize);
        let ends: Vec<_> = block_ends(text).into_iter().take(max).collect();
        text = ends.last().map_or(text, |end| &text[..*end]);
        end = (ends.len() == max).then_some(FinishReason::Stop);
    }
    let sequences = rules.stop.iter().enumerate();
    let first = sequences
        .filter(|(_, sequence)| !sequence.is_empty())
        .filter_map(|(index, sequence)| Some((text.find(sequence)?, sequence.len(), index)))
        .min();
    if let Some((begin, _, index)) = first {
        (text, end) = (&text[..begin], Some(FinishReason::StopSequence(index)));
    }
    let max_chars = rules
        .max_tokens
        .map_or(usize::MAX, |max| 4 * usize::try_from(max).unwrap());
    if text.chars().count() > max_chars {
        end = Some(FinishReason::Length);
    }
    (text.chars().take(max_chars).collect(), end)
}

fn block_ends(text: &str) -> Vec<usize> {
    let (mut ends, mut at) = (Vec::new(), 0);
    while let Some(open) = text[at..].find("<use_tool") {
        let inside = at + open + "<use_tool".len();
        let Some(close) = text[inside..].find("</use_tool>") else {
            break;
        };
        at = inside + close + "</use_tool>".len();
        ends.push(at);
    }
    ends
}

/// Splits `text` before each character for which `borders`, repeated, has a true.
fn split<'a>(text: &'a str, borders: &[bool]) -> Vec<&'a str> {
    let chars = text.char_indices().zip(borders.iter().cycle());
    let begins = chars.filter(|(_, border)| **border).map(|((at, _), _)| at);
    let borders: Vec<_> = [0].into_iter().chain(begins).chain([text.len()]).collect();
    borders
        .windows(2)
        .map(|pair| &text[pair[0]..pair[1]])
        .collect()
}

/// Returns the bytes at the end of `text` that may become one of `sequences`.
fn undecided(text: &str, sequences: &[String]) -> usize {
    let lens = sequences.iter().flat_map(|sequence| {
        let lens = sequence.char_indices().map(|(len, _)| len);
        lens.filter(|len| text.ends_with(&sequence[..*len]))
    });
    lens.max().unwrap_or(0)
}

/// Text with many starts of sequences and tags, and few ends.
fn text() -> impl Strategy<Value = String> {
    let tags = ["é", "😀", "<", "<use_", "tool", "<use_tool>", "</use_tool>"];
    let tag = prop::sample::select(tags.to_vec()).prop_map(String::from);
    let pieces = prop::collection::vec(prop_oneof!["[ab]{1,6}", tag], 0..20);
    pieces.prop_map(|pieces| pieces.concat())
}

fn sequences() -> impl Strategy<Value = Vec<String>> {
    let sequence = prop_oneof!["[ab]{1,5}", "[ab<é]{1,5}|<use_tool>a|</use_tool>b"];
    prop::collection::vec(sequence, 0..5)
}

fn rules() -> impl Strategy<Value = TruncationRules> {
    let max_blocks = (0_u32..4).prop_map(NonZeroU32::new);
    let tail = max_blocks.prop_map(|max_blocks| ToolBlockTail {
        grace: None,
        max_blocks,
    });
    let max_tokens = prop::option::of(0_u64..30);
    (sequences(), max_tokens, prop::option::of(tail)).prop_map(|(stop, max_tokens, tools)| {
        TruncationRules {
            stop,
            max_tokens,
            tools,
        }
    })
}

fn borders() -> impl Strategy<Value = Vec<bool>> {
    prop::collection::vec(any::<bool>(), 1..20)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4000))]

    #[test]
    fn any_split_gives_the_result_of_the_whole_text(rules in rules(), text in text(), borders in borders()) {
        let expected = reference(&rules, &text);
        prop_assert_eq!(forwarded_text(&rules, &split(&text, &borders)), expected.clone());
        prop_assert_eq!(forwarded_text(&rules, &[&text]), expected.clone());
        prop_assert_eq!(forwarded_text(&rules, &split(&text, &[true])), expected);
    }

    #[test]
    fn truncation_keeps_characters_whole(text in any::<String>(), begin in 0_usize..20, len in 1_usize..4, max_tokens in 0_u64..10, borders in borders()) {
        let sequence: String = text.chars().skip(begin).take(len).collect();
        let rules = TruncationRules { stop: vec![sequence], max_tokens: Some(max_tokens), ..tools(1, None) };
        prop_assert_eq!(forwarded_text(&rules, &split(&text, &borders)), reference(&rules, &text));
    }

    #[test]
    fn only_possible_starts_of_sequences_are_held(sequences in sequences(), text in text(), borders in borders()) {
        let rules = TruncationRules { stop: sequences.clone(), ..TruncationRules::default() };
        let (mut truncator, mut seen, mut forwarded) = (Truncator::new(&rules), String::new(), 0);
        for delta in split(&text, &borders) {
            seen += delta;
            forwarded += truncator.push(delta, Instant::now()).text.len();
            if sequences.iter().any(|sequence| seen.contains(sequence)) {
                break;
            }
            prop_assert_eq!(forwarded, seen.len() - undecided(&seen, &sequences));
        }
    }
}
