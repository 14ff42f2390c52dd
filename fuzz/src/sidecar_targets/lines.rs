//! Input as lines of text, such as a child writes.

/// Maximum number of lines: each of them is a step of a state machine.
const MAX_LINES: usize = 1_000;

/// The lines of an input, without those that are not UTF-8, which the sidecar drops before its protocols.
pub(crate) fn of(input: &[u8]) -> impl Iterator<Item = &str> {
    let lines = input.split(|byte| *byte == b'\n').take(MAX_LINES);
    lines.filter_map(|line| std::str::from_utf8(line).ok())
}
