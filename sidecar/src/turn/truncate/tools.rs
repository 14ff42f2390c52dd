//! `<use_tool>` blocks in the text: what stands behind them, and whether they end the turn.
//! Follows the Node proxy that came before, save that a cut here is a normal end.
//!
//! A block is `<use_tool`, anything, and the next `</use_tool>`. Text goes as it comes until the first block is
//! complete; what follows is held until another block is complete, and both go together. The variables say:
//!
//! | variables | rule |
//! |---|---|
//! | none of them | `None` |
//! | `PROXY_SUPPRESS_TAIL_AFTER_TOOLS` | `ToolBlockTail::default()` |
//! | `PROXY_STOP_AFTER_TOOLS`, mode `burst` | `grace` |
//! | `PROXY_STOP_AFTER_TOOLS`, mode `first` | `max_blocks` of 1 |
//! | `PROXY_TOOL_BLOCK_MAX` | `max_blocks`, at most the 1 of mode `first` |
//!
//! Releases of that proxy disagree about `PROXY_TOOL_BLOCK_MAX`. The one that its users know best ends the turn when
//! that many blocks are complete; a later one when a further block comes, which the client never sees. Either way no
//! more blocks than that reach the client, so the turn ends as soon as nothing more could.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

use super::sequence::Sequence;
use super::{FinishReason, Truncated};

/// Nothing behind the last complete block reaches the client. The default does not end the turn for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ToolBlockTail {
    /// The turn ends when, behind a complete block, no text has come for so long.
    pub grace: Option<Duration>,
    /// The turn ends with this block; `None` is no bound.
    pub max_blocks: Option<NonZeroU32>,
}

/// Where the text stands relative to tool blocks.
#[derive(Debug)]
pub(super) struct ToolBlocks {
    rule: ToolBlockTail,
    open: Sequence,
    close: Sequence,
    is_open: bool,
    complete: u32,
    /// Text behind the last complete block.
    tail: String,
    deadline: Option<Instant>,
}

impl ToolBlocks {
    pub(super) fn new(rule: ToolBlockTail) -> Self {
        Self {
            rule,
            open: Sequence::new("<use_tool"),
            close: Sequence::new("</use_tool>"),
            is_open: false,
            complete: 0,
            tail: String::new(),
            deadline: None,
        }
    }

    /// Lets go text up to the end of the last complete block, or all while there is none.
    pub(super) fn pass(&mut self, text: &str, now: Instant) -> Truncated {
        let block_end = self.scan(text);
        let (gone, held) = match block_end {
            Some(end) => text.split_at(end),
            None if self.complete == 0 => (text, ""),
            None => ("", text),
        };
        let cut = Truncated {
            text: self.with_tail(gone),
            end: self.is_enough().then_some(FinishReason::Stop),
        };
        self.tail.push_str(held);
        if !text.is_empty() && self.complete > 0 {
            self.deadline = self.rule.grace.and_then(|grace| now.checked_add(grace));
        }
        cut
    }

    /// When the grace behind a complete block is over.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Where in `text` the last block ends that counts.
    fn scan(&mut self, text: &str) -> Option<usize> {
        let mut block_end = None;
        for (read, byte) in (1..).zip(text.bytes()) {
            if self.completes_block(byte) {
                self.complete = self.complete.saturating_add(1);
                block_end = Some(read);
                if self.is_enough() {
                    break;
                }
            }
        }
        block_end
    }

    fn completes_block(&mut self, byte: u8) -> bool {
        let tag = if self.is_open {
            &mut self.close
        } else {
            &mut self.open
        };
        let tag_complete = tag.advance(byte);
        self.is_open ^= tag_complete;
        tag_complete && !self.is_open
    }

    fn is_enough(&self) -> bool {
        let max = self.rule.max_blocks;
        max.is_some_and(|max| self.complete >= max.get())
    }

    /// `text`, with the tail before it if it is not empty.
    fn with_tail(&mut self, text: &str) -> String {
        if text.is_empty() {
            return String::new();
        }
        let mut whole = std::mem::take(&mut self.tail);
        whole.push_str(text);
        whole
    }
}
