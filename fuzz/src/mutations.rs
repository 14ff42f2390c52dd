//! Mutations of seeds: removed, duplicated and joined ranges, flipped bits, and inserted tokens.

use fastrand::Rng;

/// Tokens that are special to parsers.
const TOKENS: [&[u8]; 16] = [
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

/// Maximum bytes of an input: longer ones take time and find little.
const MAX_BYTES: usize = 32 << 10;

/// An endless sequence of inputs, the same for the same seeds.
pub(crate) struct Mutations {
    seeds: Vec<Vec<u8>>,
    random: Rng,
}

impl Mutations {
    pub(crate) fn of(seeds: Vec<Vec<u8>>) -> Self {
        Self {
            seeds,
            random: Rng::with_seed(1),
        }
    }

    pub(crate) fn seeds(&self) -> &[Vec<u8>] {
        &self.seeds
    }

    /// Returns a seed after one to four changes.
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
                let token = TOKENS[self.random.usize(..TOKENS.len())];
                input.splice(at..at, token.iter().copied());
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
