//! Words of docs and string literals, without code.

use super::tokens::TextBlock;

/// A word in lower case.
#[derive(Debug)]
pub(super) struct Word {
    pub(super) text: String,
    pub(super) line: usize,
    /// Whether only white space separates the word from the word before.
    pub(super) is_adjacent: bool,
}

/// The words of a doc block; a code span counts as one word, a fenced block as none.
pub(super) fn of_doc(block: &TextBlock) -> Vec<Word> {
    split(&without_code(&block.text), block.line)
}

/// The words of a string literal as written in the file, with its quotes and escapes.
pub(super) fn of_literal(literal: &str, line: usize) -> Vec<Word> {
    let mut text = String::with_capacity(literal.len());
    let mut chars = literal.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => text.push(match chars.next() {
                // Only an escaped end of line is one in the file.
                Some('n' | 'r' | 't') => ' ',
                Some(escaped) => escaped,
                None => c,
            }),
            c => text.push(c),
        }
    }
    split(&text, line)
}

/// Replaces each code span by a digit, which is a word without meaning, and each fenced block by empty lines.
fn without_code(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut is_fenced = false;
    let mut is_code = false;
    for line in text.split('\n') {
        if line.trim_start().starts_with("```") {
            is_fenced = !is_fenced;
        } else if !is_fenced {
            for c in line.chars() {
                match c {
                    '`' => {
                        is_code = !is_code;
                        plain.push(if is_code { '0' } else { ' ' });
                    }
                    _ if is_code => {}
                    c => plain.push(c),
                }
            }
        }
        plain.push('\n');
    }
    plain
}

fn split(text: &str, first_line: usize) -> Vec<Word> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut line = first_line;
    let mut is_adjacent = true;
    for c in text.chars().chain(['\n']) {
        if is_of_word(c) {
            word.extend(c.to_lowercase());
            continue;
        }
        // Quotation marks and dashes are not a part of the word; a hyphen inside, as in `one-way`, is.
        let bare = word.trim_matches(['\'', '-']);
        if !bare.is_empty() {
            words.push(Word {
                text: bare.strip_suffix("'s").unwrap_or(bare).to_owned(),
                line,
                // A quoted word is a value: `is 'none'`.
                is_adjacent: is_adjacent && !word.starts_with('\''),
            });
            is_adjacent = true;
        }
        word.clear();
        is_adjacent &= c.is_whitespace();
        line += usize::from(c == '\n');
    }
    words
}

fn is_of_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '\'' | '-' | '_')
}
