//! Input as lines of text, such as a child writes; and what is no line but happens in between.

/// Longest input that is read as lines, in lines: every one of them is a step of some state machine.
const MAX_LINES: usize = 1_000;

/// The lines of an input. Bytes that are not UTF-8 never get as far as a protocol.
pub(crate) fn of(input: &[u8]) -> impl Iterator<Item = &str> {
    let lines = input.split(|byte| *byte == b'\n').take(MAX_LINES);
    lines.filter_map(|line| std::str::from_utf8(line).ok())
}
