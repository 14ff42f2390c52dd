//! Texts of a given length: the same in every run, and different for each name.

use std::fmt::Write as _;

/// Source code of `bytes` bytes, as a tool that reads the file `name` returns it.
pub(super) fn source_code(name: &str, bytes: usize) -> String {
    let mut text = String::new();
    let mut line = 0;
    while text.len() < bytes {
        line += 1;
        let _ = writeln!(text, "{line:5}| let item_{line} = parse(&{name}, {line})?;");
    }
    text.truncate(bytes);
    text
}

/// Instructions of `bytes` bytes on the subject `name`.
pub(super) fn prose(name: &str, bytes: usize) -> String {
    let mut text = String::new();
    let mut number = 0;
    while text.len() < bytes {
        number += 1;
        let _ = write!(
            text,
            "Rule {number} on {name}: read the file before you change it, and say what you found. "
        );
    }
    text.truncate(bytes);
    text
}
