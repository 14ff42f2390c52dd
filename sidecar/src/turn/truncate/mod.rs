//! What part of a model's text reaches the client, and when it is enough.
//! Follows the OpenAI API reference (`stop`, `max_tokens`) and, for `<use_tool>` blocks, the Node proxy that came before.
//!
//! Text passes three rules in this order: tool blocks, stop sequences, the largest number of tokens. Each works in
//! time linear in the text, however it is split into deltas, and the split changes neither text nor end.

mod sequence;
mod stop;
mod tokens;
mod tools;

#[cfg(test)]
mod tests;

use tokio::time::Instant;

use self::stop::StopSequences;
use self::tokens::TokenLimit;
pub use self::tools::ToolBlockTail;
use self::tools::ToolBlocks;
use super::FinishReason;

/// What a client and the operator want of a model's text; the default cuts nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TruncationRules {
    /// The text ends before the first of these; if two overlap, before the one that begins first.
    pub stop: Vec<String>,
    /// Tokens that may reach the client, at four characters each.
    pub max_tokens: Option<u64>,
    /// `None` forwards what stands behind tool blocks.
    pub tools: Option<ToolBlockTail>,
}

/// What may go to the client now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Truncated {
    /// Maybe empty.
    pub text: String,
    /// Set when it is enough: no text follows, and the model need not go on.
    pub end: Option<FinishReason>,
}

/// Applies rules to one answer, delta by delta.
#[derive(Debug)]
pub struct Truncator {
    tools: Option<ToolBlocks>,
    stop: StopSequences,
    tokens: Option<TokenLimit>,
    end: Option<FinishReason>,
}

impl Truncator {
    /// Starts at the begin of an answer.
    pub fn new(rules: &TruncationRules) -> Self {
        Self {
            tools: rules.tools.map(ToolBlocks::new),
            stop: StopSequences::new(&rules.stop),
            tokens: rules.max_tokens.map(TokenLimit::new),
            end: None,
        }
    }

    /// Takes the model's next text. After an end nothing comes but that end.
    pub fn push(&mut self, text: &str, now: Instant) -> Truncated {
        if self.end.is_some() {
            return self.over();
        }
        let cut = match &mut self.tools {
            Some(tools) => tools.pass(text, now),
            None => Truncated {
                text: text.to_owned(),
                end: None,
            },
        };
        let cut = self.stop.pass(cut);
        self.hand_over(cut)
    }

    /// Lets go what might have become a stop sequence: the model has ended, the deadline has passed, or something else
    /// than text comes next. What stands behind tool blocks stays, since only another block can set it free.
    pub fn flush(&mut self) -> Truncated {
        if self.end.is_some() {
            return self.over();
        }
        let cut = self.stop.release();
        self.hand_over(cut)
    }

    /// When the turn is over (`FinishReason::Stop`) unless more text comes before.
    pub fn deadline(&self) -> Option<Instant> {
        let tools = self.tools.as_ref().filter(|_| self.end.is_none());
        tools.and_then(ToolBlocks::deadline)
    }

    fn hand_over(&mut self, cut: Truncated) -> Truncated {
        let cut = match &mut self.tokens {
            Some(tokens) => tokens.pass(cut),
            None => cut,
        };
        self.end = cut.end;
        cut
    }

    fn over(&self) -> Truncated {
        Truncated {
            text: String::new(),
            end: self.end,
        }
    }
}
