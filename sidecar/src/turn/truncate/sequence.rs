//! Finding one sequence in text that comes in pieces, without going back.
//! Follows Knuth, Morris and Pratt, "Fast pattern matching in strings" (1977).

/// A sequence, and how much of it the text seen so far ends with.
#[derive(Debug)]
pub(super) struct Sequence {
    text: String,
    /// For each length of a prefix: that of the longest shorter prefix that it ends with.
    fallback: Vec<usize>,
    matched: usize,
}

impl Sequence {
    /// `text` is not empty.
    pub(super) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            fallback: fallback(text.as_bytes()),
            matched: 0,
        }
    }

    /// Reads the next byte; true when the sequence is complete with it, and is then looked for anew.
    pub(super) fn advance(&mut self, byte: u8) -> bool {
        self.matched = step(self.text.as_bytes(), &self.fallback, self.matched, byte);
        let complete = self.matched == self.text.len();
        if complete {
            self.matched = 0;
        }
        complete
    }

    /// Bytes at the end of the text seen so far that may become the sequence.
    pub(super) fn matched(&self) -> usize {
        self.matched
    }

    /// Forgets the text seen so far.
    pub(super) fn reset(&mut self) {
        self.matched = 0;
    }

    /// The sequence itself.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

fn fallback(sequence: &[u8]) -> Vec<usize> {
    let mut fallback = vec![0, 0];
    for (before, &byte) in (1..).zip(&sequence[1..]) {
        fallback.push(step(sequence, &fallback, fallback[before], byte));
    }
    fallback
}

/// How much of the sequence is matched after `byte`, when `matched` bytes of it were before.
fn step(sequence: &[u8], fallback: &[usize], mut matched: usize, byte: u8) -> usize {
    while matched > 0 && sequence[matched] != byte {
        matched = fallback[matched];
    }
    if sequence[matched] == byte {
        matched + 1
    } else {
        0
    }
}
