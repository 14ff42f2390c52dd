//! The largest number of tokens that may reach the client, by the rule of thumb of four characters each.
//! Follows the OpenAI API reference, `max_tokens`, for all but the count.
//!
//! Real tokenizers were measured (o200k_base) and left out: `bpe-openai` 0.3.2 adds 33 MiB to the binary and 66 MiB to
//! the resident memory, `tiktoken-rs` 0.12.1 adds 6 MiB and 45 MiB. The rule is close for English prose and generous to
//! scripts that spend a token on one or two characters.

use super::{FinishReason, Truncated};

/// Characters of a token, as OpenAI's rule of thumb has it.
const CHARS_PER_TOKEN: u64 = 4;

/// Counts characters down; only the visible answer counts, not the reasoning.
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

    /// Ends the answer where the first character stands that is too much; one that just fits ends by itself.
    pub(super) fn pass(&mut self, mut cut: Truncated) -> Truncated {
        match cut.text.char_indices().nth(self.chars_left) {
            Some((fitting, _)) => {
                cut.text.truncate(fitting);
                cut.end = Some(FinishReason::Length);
            }
            None => self.chars_left -= cut.text.chars().count(),
        }
        cut
    }
}
