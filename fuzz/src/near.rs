//! Inputs that are nearly seeds: cut, doubled, joined, with a byte changed or a word of the trade put in.

use fastrand::Rng;

/// What parsers stumble over.
const WORDS: [&[u8]; 16] = [
    b"\"",
    b"\\",
    b"\\u0000",
    b"\\ud800",
    b"\xff",
    b"\0",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b"\n",
    b"null",
    b"1e999",
    b"-1",
    b"\"model\":",
];

/// Longest input, in bytes: long ones take time and find little.
const MAX_BYTES: usize = 32 << 10;

/// An endless row of inputs, the same one for the same seeds.
pub(crate) struct Neighbours {
    seeds: Vec<Vec<u8>>,
    random: Rng,
}

impl Neighbours {
    pub(crate) fn of(seeds: Vec<Vec<u8>>) -> Self {
        Self {
            seeds,
            random: Rng::with_seed(1),
        }
    }

    pub(crate) fn seeds(&self) -> &[Vec<u8>] {
        &self.seeds
    }

    /// A seed after one to four changes.
    pub(crate) fn next(&mut self) -> Vec<u8> {
        let mut input = self.seed().clone();
        for _ in 0..self.random.usize(1..=4) {
            self.change(&mut input);
        }
        input.truncate(MAX_BYTES);
        input
    }

    fn seed(&mut self) -> &Vec<u8> {
        let index = self.random.usize(..self.seeds.len());
        &self.seeds[index]
    }

    fn change(&mut self, input: &mut Vec<u8>) {
        let at = self.random.usize(..=input.len());
        let end = input.len().min(at + self.random.usize(..=64));
        match self.random.u8(..6) {
            0 => drop(input.drain(at..end)),
            1 => {
                let word = WORDS[self.random.usize(..WORDS.len())];
                input.splice(at..at, word.iter().copied());
            }
            2 => {
                let twice = input[at..end].to_vec();
                input.splice(at..at, twice);
            }
            3 => {
                let other = self.seed().clone();
                let from = self.random.usize(..=other.len());
                input.splice(at.., other[from..].iter().copied());
            }
            4 => input.truncate(at),
            _ => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= 1 << self.random.u8(..8);
                }
            }
        }
    }
}
