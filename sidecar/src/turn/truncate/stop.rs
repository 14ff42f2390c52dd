//! Stop sequences: the text ends before the first one.
//! Follows the OpenAI API reference, `stop`: the sequence itself is not part of the text.

use super::sequence::Sequence;
use super::truncated::Truncated;
use crate::turn::FinishReason;

/// Holds back the end of the text as long as it is the possible start of a stop sequence.
#[derive(Debug)]
pub(super) struct StopSequences {
    sequences: Vec<Sequence>,
    /// The index of each sequence in the rules.
    indices: Vec<usize>,
    held: HeldPrefix,
    /// The earliest complete sequence. The end waits while another sequence that began before may still become
    /// complete.
    found: Option<FoundSequence>,
}

/// A complete sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct FoundSequence {
    /// The bytes since the start of the sequence.
    back: usize,
    /// The index in the rules.
    index: usize,
}

/// Text that is held back: the first `len` bytes of a sequence, so that the text need not be copied.
#[derive(Debug, Clone, Copy, Default)]
struct HeldPrefix {
    sequence: usize,
    len: usize,
}

impl StopSequences {
    /// Returns the rule for these sequences; empty ones are left out.
    pub(super) fn new(stop: &[String]) -> Self {
        let texts = stop.iter().enumerate().filter(|(_, text)| !text.is_empty());
        let (indices, sequences) = texts
            .map(|(index, text)| (index, Sequence::new(text)))
            .unzip();
        Self {
            sequences,
            indices,
            held: HeldPrefix::default(),
            found: None,
        }
    }

    /// Holds back the possible start of a sequence. At the end of the text it is released, since no more text can
    /// complete the sequence.
    pub(super) fn push(&mut self, mut delta: Truncated) -> Truncated {
        let held_before = self.held;
        let scanned = self.scan(delta.text.as_bytes());
        self.held = self.longest();
        let end = self.found.filter(|_| self.is_decided());
        let retained = end.map_or(self.held.len, |found| found.back);
        self.keep(
            &mut delta.text,
            held_before,
            held_before.len + scanned - retained,
        );
        if let Some(found) = end {
            delta.end = Some(FinishReason::StopSequence(found.index));
        } else if delta.end.is_some() {
            delta.text.push_str(&self.release().text);
        }
        delta
    }

    /// Releases the held text, and resets the search: later text does not continue a sequence.
    pub(super) fn release(&mut self) -> Truncated {
        let len = self.held.len - self.found.map_or(0, |found| found.back);
        let released = Truncated {
            text: self.prefix(self.held, len).to_owned(),
            end: self
                .found
                .map(|found| FinishReason::StopSequence(found.index)),
        };
        self.sequences.iter_mut().for_each(Sequence::reset);
        self.held = HeldPrefix::default();
        released
    }

    /// Reads `text` up to the byte at which the end is decided, and returns the number of bytes read.
    fn scan(&mut self, text: &[u8]) -> usize {
        for (read, &byte) in (1..).zip(text) {
            if let Some(found) = &mut self.found {
                found.back += 1;
            }
            for (sequence, &index) in self.sequences.iter_mut().zip(&self.indices) {
                if sequence.advance(byte) {
                    let back = sequence.text().len();
                    // Of two that begin at one place, the shorter one was complete before.
                    if self.found.is_none_or(|found| found.back < back) {
                        self.found = Some(FoundSequence { back, index });
                    }
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
        // A partial match that is longer than the distance to the found sequence began before it.
        let has_earlier = |back| self.sequences.iter().any(|other| other.matched() > back);
        self.found.is_some_and(|found| !has_earlier(found.back))
    }

    fn longest(&self) -> HeldPrefix {
        self.sequences
            .iter()
            .map(Sequence::matched)
            .enumerate()
            .max_by_key(|(_, len)| *len)
            .map(|(sequence, len)| HeldPrefix { sequence, len })
            .unwrap_or_default()
    }

    /// Reduces `text` to the first `len` bytes of the text that was held before it, followed by `text`.
    fn keep(&self, text: &mut String, held_before: HeldPrefix, len: usize) {
        let held_len = len.min(held_before.len);
        text.truncate(len - held_len);
        text.insert_str(0, self.prefix(held_before, held_len));
    }

    fn prefix(&self, held: HeldPrefix, len: usize) -> &str {
        let sequence = self.sequences.get(held.sequence);
        sequence.map_or("", |sequence| &sequence.text()[..len])
    }
}
