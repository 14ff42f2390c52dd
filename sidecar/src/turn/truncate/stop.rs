//! Stop sequences: the text ends before the first of them.
//! Follows the OpenAI API reference, `stop`: the sequence itself is not part of the answer.

use super::sequence::Sequence;
use super::{FinishReason, Truncated};

/// Holds back the end of the text while it may still become a stop sequence, and not longer.
#[derive(Debug)]
pub(super) struct StopSequences {
    sequences: Vec<Sequence>,
    held: Held,
    /// How many bytes ago the earliest complete sequence began. It waits while another one that began
    /// before it is not yet decided.
    found: Option<usize>,
}

/// Text that is held back. It is the begin of a sequence, so that nothing needs to be copied to hold it.
#[derive(Debug, Clone, Copy, Default)]
struct Held {
    sequence: usize,
    len: usize,
}

impl StopSequences {
    /// Empty sequences stop nothing.
    pub(super) fn new(stop: &[String]) -> Self {
        let stop = stop.iter().filter(|text| !text.is_empty());
        Self {
            sequences: stop.map(|text| Sequence::new(text)).collect(),
            held: Held::default(),
            found: None,
        }
    }

    /// Holds back what may become a sequence; when `cut` is the end, that is let go.
    pub(super) fn pass(&mut self, mut cut: Truncated) -> Truncated {
        let before = self.held;
        let scanned = self.scan(cut.text.as_bytes());
        self.held = self.longest();
        let over = self.is_decided();
        let back = self.found.filter(|_| over).unwrap_or(self.held.len);
        self.keep(&mut cut.text, before, before.len + scanned - back);
        if over {
            cut.end = Some(FinishReason::Stop);
        } else if cut.end.is_some() {
            let rest = self.release();
            cut.text.push_str(&rest.text);
        }
        cut
    }

    /// Lets go what is held back, and forgets it: what comes next does not continue it.
    pub(super) fn release(&mut self) -> Truncated {
        let len = self.held.len - self.found.unwrap_or(0);
        let cut = Truncated {
            text: self.prefix(self.held, len).to_owned(),
            end: self.found.map(|_| FinishReason::Stop),
        };
        self.sequences.iter_mut().for_each(Sequence::reset);
        self.held = Held::default();
        cut
    }

    /// Reads until it is clear where the text ends, and returns how many bytes that took.
    fn scan(&mut self, text: &[u8]) -> usize {
        for (read, &byte) in (1..).zip(text) {
            self.found = self.found.map(|back| back + 1);
            for sequence in &mut self.sequences {
                if sequence.advance(byte) {
                    self.found = self.found.max(Some(sequence.text().len()));
                }
            }
            if self.is_decided() {
                return read;
            }
        }
        text.len()
    }

    /// Whether a sequence is complete and none that began before it can still become so.
    fn is_decided(&self) -> bool {
        let earlier = |back| self.sequences.iter().any(|other| other.matched() > back);
        self.found.is_some_and(|back| !earlier(back))
    }

    fn longest(&self) -> Held {
        let lens = self.sequences.iter().map(Sequence::matched).enumerate();
        lens.max_by_key(|(_, len)| *len)
            .map(|(sequence, len)| Held { sequence, len })
            .unwrap_or_default()
    }

    /// Leaves in `text` the first `len` bytes of what was held before it and itself.
    fn keep(&self, text: &mut String, before: Held, len: usize) {
        let of_before = len.min(before.len);
        text.truncate(len - of_before);
        text.insert_str(0, self.prefix(before, of_before));
    }

    fn prefix(&self, held: Held, len: usize) -> &str {
        let sequence = self.sequences.get(held.sequence);
        sequence.map_or("", |sequence| &sequence.text()[..len])
    }
}
