//! `<use_tool>` blocks in the text: the text after them, and the end of the turn.
//! Follows the earlier Node proxy, except that a truncation here is a normal end.
//!
//! A block is `<use_tool`, any text, and the next `</use_tool>`. Text is forwarded until the first block is complete.
//! Later text is held until another block is complete, and both are forwarded together. The environment variables map
//! to:
//!
//! | variables | rule |
//! |---|---|
//! | not set | `None` |
//! | `PROXY_SUPPRESS_TAIL_AFTER_TOOLS` | `ToolBlockTail::default()` |
//! | `PROXY_STOP_AFTER_TOOLS`, mode `burst` | `grace` |
//! | `PROXY_STOP_AFTER_TOOLS`, mode `first` | `max_blocks` of 1 |
//! | `PROXY_TOOL_BLOCK_MAX` | `max_blocks`, at most the 1 of mode `first` |
//!
//! Releases of that proxy differ in `PROXY_TOOL_BLOCK_MAX`. The most used one ends the turn when that many blocks are
//! complete, a later one when a further block begins, which the client does not receive. In both, no more blocks reach
//! the client, so the turn ends here with the last block.

use std::num::NonZeroU32;
use std::time::Duration;

use tokio::time::Instant;

use super::sequence::Sequence;
use super::truncated::Truncated;
use crate::turn::FinishReason;

/// Drops text after the last complete block. The default does not end the turn.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ToolBlockTail {
    /// The turn ends when no text has come for this time after a complete block.
    pub grace: Option<Duration>,
    /// The turn ends with this many complete blocks; `None` is unlimited.
    pub max_blocks: Option<NonZeroU32>,
}

/// The position of the text relative to tool blocks.
#[derive(Debug)]
pub(super) struct ToolBlocks {
    rule: ToolBlockTail,
    open: Sequence,
    close: Sequence,
    is_open: bool,
    complete: u32,
    /// Text after the last complete block, held until another block is complete.
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

    /// Forwards text up to the end of the last complete block, or all text while no block is complete.
    pub(super) fn push(&mut self, text: &str, now: Instant) -> Truncated {
        let block_end = self.scan(text);
        let (forwarded, held) = match block_end {
            Some(end) => text.split_at(end),
            None if self.complete == 0 => (text, ""),
            None => ("", text),
        };
        let result = Truncated {
            text: self.with_tail(forwarded),
            end: self.is_enough().then_some(FinishReason::Stop),
        };
        self.tail.push_str(held);
        // An empty delta must not extend the grace.
        if !text.is_empty() && self.complete > 0 {
            self.deadline = self.rule.grace.and_then(|grace| now.checked_add(grace));
        }
        result
    }

    /// Returns the end of the grace after a complete block.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Returns the offset in `text` after the last block that counts.
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

    /// Returns `text` with the held tail before it, or an empty string for an empty `text`.
    fn with_tail(&mut self, text: &str) -> String {
        if text.is_empty() {
            return String::new();
        }
        let mut whole = std::mem::take(&mut self.tail);
        whole.push_str(text);
        whole
    }
}
