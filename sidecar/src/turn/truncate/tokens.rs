//! The token limit, with four characters counted as one token.
//! Follows the OpenAI API reference, `max_tokens`, except for the count.
//!
//! Tokenizer crates were measured (o200k_base) and not used: `bpe-openai` 0.3.2 adds 33 MiB to the binary and 66 MiB to
//! the resident memory, `tiktoken-rs` 0.12.1 adds 6 MiB and 45 MiB. Four characters are close for English prose, and
//! generous for scripts in which a token is one or two characters.

use super::truncated::Truncated;
use crate::turn::FinishReason;

/// Characters of a token, the rule of thumb in OpenAI's documentation.
const CHARS_PER_TOKEN: u64 = 4;

/// Counts the characters of the visible text; reasoning does not count.
#[derive(Debug)]
pub(super) struct TokenLimit {
    chars_left: usize,
}

impl TokenLimit {
    pub(super) fn new(max_tokens: u64) -> Self {
        let chars = max_tokens.saturating_mul(CHARS_PER_TOKEN);
        Self {
            chars_left: usize::try_from(chars).unwrap_or(usize::MAX),
        }
    }

    /// Ends the text before the first character beyond the limit. A text that just fits is not ended here: its finish
    /// reason is the model's own.
    pub(super) fn push(&mut self, mut delta: Truncated) -> Truncated {
        match delta.text.char_indices().nth(self.chars_left) {
            Some((fitting, _)) => {
                delta.text.truncate(fitting);
                delta.end = Some(FinishReason::Length);
            }
            None => self.chars_left -= delta.text.chars().count(),
        }
        delta
    }
}
