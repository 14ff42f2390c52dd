//! Characters per token of each model's output, learned from turns with tokens that Codex has reported.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::store::notes::Note;
use crate::turn::Usage;

/// The ratio before any turn has ended: the rule of thumb in OpenAI's documentation.
const FIRST_RATIO: f64 = 4.0;

/// Tokens that the first ratio weighs as much as, so that one short turn does not decide alone.
const FIRST_TOKENS: f64 = 200.0;

/// The part of the earlier turns' weight that is left after each turn.
const DECAY: f64 = 0.95;

/// Ratios that text has. A count outside of them is not one of text.
const RATIOS: std::ops::RangeInclusive<f64> = 0.5..=12.0;

/// The change of a ratio, as a part of it, from which on it is noted again: a note is a write of the ledger's file.
const NOTED_CHANGE: f64 = 0.01;

/// The ratios of all models.
#[derive(Debug, Clone, Default)]
pub struct TokenRatios(Arc<Mutex<HashMap<String, Sums>>>);

#[derive(Debug, Clone, Copy)]
struct Sums {
    chars: f64,
    tokens: f64,
    /// The ratio of the last note; 0 before the first.
    noted: f64,
}

impl TokenRatios {
    /// Returns the characters of a token of `model`.
    pub fn chars_per_token(&self, model: &str) -> f64 {
        let ratios = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let ratio = ratios.get(model).map(|sums| sums.chars / sums.tokens);
        ratio.unwrap_or(FIRST_RATIO)
    }

    /// Takes the sums of earlier processes, unless a turn of this one has taught more.
    pub(in crate::store) fn restore(&self, known: Vec<(String, f64, f64)>) {
        let mut ratios = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        for (model, chars, tokens) in known {
            if RATIOS.contains(&(chars / tokens)) {
                ratios.entry(model).or_insert(Sums {
                    chars,
                    tokens,
                    noted: chars / tokens,
                });
            }
        }
    }

    /// Learns from a turn of `model` with `chars` characters of visible output. Returns a note of the model's sums if the
    /// ratio has changed.
    #[expect(
        clippy::cast_precision_loss,
        reason = "a turn has fewer than 2^52 characters"
    )]
    pub(super) fn learn(&self, model: &str, chars: usize, usage: &Usage) -> Option<Note> {
        // Reasoning has tokens without visible characters.
        let tokens = usage.output_tokens.saturating_sub(usage.reasoning_tokens);
        let (chars, tokens) = (chars as f64, tokens as f64);
        if !RATIOS.contains(&(chars / tokens)) {
            return None; // Also without tokens.
        }
        let mut ratios = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let first = Sums {
            chars: FIRST_RATIO * FIRST_TOKENS,
            tokens: FIRST_TOKENS,
            noted: 0.0,
        };
        let sums = ratios.entry(model.to_owned()).or_insert(first);
        sums.chars = sums.chars * DECAY + chars;
        sums.tokens = sums.tokens * DECAY + tokens;
        let ratio = sums.chars / sums.tokens;
        if (ratio - sums.noted).abs() < NOTED_CHANGE * ratio {
            return None;
        }
        sums.noted = ratio;
        Some(Note::Ratio {
            model: model.to_owned(),
            chars: sums.chars,
            tokens: sums.tokens,
        })
    }

    /// Estimates the usage of a turn of `model` that Codex has not reported.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "a turn has fewer than 2^52 characters"
    )]
    pub fn estimate(&self, model: &str, prompt_chars: usize, output_chars: usize) -> Usage {
        let tokens = (output_chars as f64 / self.chars_per_token(model)).ceil();
        Usage {
            output_tokens: tokens as u64,
            ..Usage::estimate(prompt_chars, 0)
        }
    }
}
