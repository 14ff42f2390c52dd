//! Search for one sequence in text that comes in deltas; each byte is read once.
//! Follows Knuth, Morris and Pratt, "Fast pattern matching in strings" (1977).

/// A sequence, with the length of its longest prefix that the text so far ends with.
#[derive(Debug)]
pub(super) struct Sequence {
    text: String,
    /// For each prefix length, the length of the longest shorter prefix that this prefix ends with.
    fallback: Vec<usize>,
    matched: usize,
}

impl Sequence {
    /// Returns the search for `text`, which must not be empty.
    pub(super) fn new(text: &str) -> Self {
        Self {
            text: text.to_owned(),
            fallback: fallback(text.as_bytes()),
            matched: 0,
        }
    }

    /// Reads the next byte. Returns true when the byte completes the sequence; the search then starts again.
    pub(super) fn advance(&mut self, byte: u8) -> bool {
        self.matched = step(self.text.as_bytes(), &self.fallback, self.matched, byte);
        let complete = self.matched == self.text.len();
        if complete {
            self.matched = 0;
        }
        complete
    }

    /// Returns the length of the prefix that the text so far ends with.
    pub(super) fn matched(&self) -> usize {
        self.matched
    }

    /// Resets the search, as if no text had been read.
    pub(super) fn reset(&mut self) {
        self.matched = 0;
    }

    /// Returns the sequence.
    pub(super) fn text(&self) -> &str {
        &self.text
    }
}

fn fallback(sequence: &[u8]) -> Vec<usize> {
    // Lengths 0 and 1 have no shorter prefix but the empty one.
    let mut fallback = vec![0, 0];
    for (len, &byte) in (1..).zip(&sequence[1..]) {
        fallback.push(step(sequence, &fallback, fallback[len], byte));
    }
    fallback
}

/// Returns the length of the matched prefix after `byte`, from the length before it.
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
