//! The truncator of one turn, which applies the three rules to each delta.

use tokio::time::Instant;

use super::stop::StopSequences;
use super::tokens::TokenLimit;
use super::tools::{ToolBlockTail, ToolBlocks};
use super::truncated::Truncated;
use crate::turn::FinishReason;

/// The truncation that the client and the operator ask for. The default forwards all text.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TruncationRules {
    /// The text ends before the first of these sequences; of two that overlap, before the one that begins first.
    pub stop: Vec<String>,
    /// Maximum number of visible tokens, at four characters each.
    pub max_tokens: Option<u64>,
    /// The handling of text after tool blocks; `None` forwards the text.
    pub tools: Option<ToolBlockTail>,
}

/// Applies the rules to the text of one turn, delta by delta.
#[derive(Debug)]
pub struct Truncator {
    tools: Option<ToolBlocks>,
    stop: StopSequences,
    tokens: Option<TokenLimit>,
    end: Option<FinishReason>,
}

impl Truncator {
    /// Returns a truncator for the beginning of a text.
    pub fn new(rules: &TruncationRules) -> Self {
        Self {
            tools: rules.tools.map(ToolBlocks::new),
            stop: StopSequences::new(&rules.stop),
            tokens: rules.max_tokens.map(TokenLimit::new),
            end: None,
        }
    }

    /// Takes the next delta. After the end, every result is empty and repeats that end.
    pub fn push(&mut self, delta: &str, now: Instant) -> Truncated {
        if self.end.is_some() {
            return self.ended();
        }
        let delta = match &mut self.tools {
            Some(tools) => tools.push(delta, now),
            None => Truncated {
                text: delta.to_owned(),
                end: None,
            },
        };
        // Tokens last: text that the other rules drop does not count.
        let without_stop = self.stop.push(delta);
        self.limit_tokens(without_stop)
    }

    /// Releases text that was held back as the possible start of a stop sequence: the model has ended, the deadline has
    /// passed, or an event other than text follows. Text after a tool block stays, since only another block releases
    /// it.
    pub fn flush(&mut self) -> Truncated {
        if self.end.is_some() {
            return self.ended();
        }
        let released = self.stop.release();
        self.limit_tokens(released)
    }

    /// Returns the time at which the turn ends (`FinishReason::Stop`) unless more text comes before.
    pub fn deadline(&self) -> Option<Instant> {
        let tools = self.tools.as_ref().filter(|_| self.end.is_none());
        tools.and_then(ToolBlocks::deadline)
    }

    fn limit_tokens(&mut self, text: Truncated) -> Truncated {
        let limited = match &mut self.tokens {
            Some(tokens) => tokens.push(text),
            None => text,
        };
        self.end = limited.end;
        limited
    }

    fn ended(&self) -> Truncated {
        Truncated {
            text: String::new(),
            end: self.end,
        }
    }
}
