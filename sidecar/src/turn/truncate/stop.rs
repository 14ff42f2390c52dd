//! Stop sequences: the text ends before the first one.
//! Follows the OpenAI API reference, `stop`: the sequence itself is not part of the text.

use super::sequence::Sequence;
use super::truncated::Truncated;
use crate::turn::FinishReason;

/// Holds back the end of the text as long as it is the possible start of a stop sequence.
#[derive(Debug)]
pub(super) struct StopSequences {
    sequences: Vec<Sequence>,
    held: HeldPrefix,
    /// The bytes since the start of the earliest complete sequence. The end waits while another sequence that began
    /// before may still become complete.
    found: Option<usize>,
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
        let sequences = stop
            .iter()
            .filter(|text| !text.is_empty())
            .map(|text| Sequence::new(text))
            .collect();
        Self {
            sequences,
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
        let has_ended = self.is_decided();
        let retained = self.found.filter(|_| has_ended).unwrap_or(self.held.len);
        self.keep(
            &mut delta.text,
            held_before,
            held_before.len + scanned - retained,
        );
        if has_ended {
            delta.end = Some(FinishReason::Stop);
        } else if delta.end.is_some() {
            delta.text.push_str(&self.release().text);
        }
        delta
    }

    /// Releases the held text, and resets the search: later text does not continue a sequence.
    pub(super) fn release(&mut self) -> Truncated {
        let len = self.held.len - self.found.unwrap_or(0);
        let released = Truncated {
            text: self.prefix(self.held, len).to_owned(),
            end: self.found.map(|_| FinishReason::Stop),
        };
        self.sequences.iter_mut().for_each(Sequence::reset);
        self.held = HeldPrefix::default();
        released
    }

    /// Reads `text` up to the byte at which the end is decided, and returns the number of bytes read.
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
        // A partial match that is longer than the distance to the found sequence began before it.
        let has_earlier = |back| self.sequences.iter().any(|other| other.matched() > back);
        self.found.is_some_and(|back| !has_earlier(back))
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
