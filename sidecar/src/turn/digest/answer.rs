//! The model's answer, for the comparison with what a client returns.

use super::digests::{Digest, ReasoningPlace};
use super::hasher::{Hasher, reasoning, trimmed};
use crate::turn::{Content, Item, Phase, ReasoningItem, Role, ToolCall};

/// An item of the model's answer, for the comparison with the item that a client returns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AnswerItem {
    /// A message of one text.
    Message {
        /// The digest of the text without white space at its end, which clients trim.
        text: Digest,
        /// The phase, which a chat client does not return.
        phase: Option<Phase>,
    },
    /// A tool call.
    ToolCall(Digest),
    /// A reasoning item, which a client need not return.
    Reasoning(Digest),
}

impl AnswerItem {
    /// Returns the item of a message.
    pub fn message(text: &str, phase: Option<Phase>) -> Self {
        Self::Message {
            text: trimmed(text),
            phase,
        }
    }

    /// Returns the item of a tool call.
    pub fn tool_call(call: &ToolCall) -> Self {
        let mut hash = Hasher::default();
        hash.tool_call(call);
        Self::ToolCall(hash.finish())
    }

    /// Returns the item of a reasoning item.
    pub fn reasoning(item: &ReasoningItem) -> Self {
        Self::Reasoning(reasoning(item))
    }

    /// Whether this is a reasoning item.
    pub fn is_reasoning(&self) -> bool {
        matches!(self, Self::Reasoning(_))
    }

    /// Whether a client that returns this item returns `item`.
    fn is_returned_as(&self, item: &Item) -> bool {
        match (self, item) {
            (Self::Message { text, phase }, Item::Message(message)) => {
                let same_phase = message.phase.is_none() || message.phase == *phase;
                let content = message.content.as_slice();
                message.role == Role::Assistant
                    && same_phase
                    && matches!(content, [Content::Text(sent)] if trimmed(sent) == *text)
            }
            (Self::ToolCall(_), Item::ToolCall(call)) => *self == Self::tool_call(call),
            (Self::Reasoning(_), Item::Reasoning(item)) => *self == Self::reasoning(item),
            _ => false,
        }
    }
}

/// Returns the number of items in front of the first one that a client added after `answer`; `None` unless the
/// conversation goes on with the items of `answer`.
///
/// `len` is the number of items that are not reasoning before the answer.
pub fn end_of_answer(conversation: &[Item], len: usize, answer: &[AnswerItem]) -> Option<usize> {
    let is_reasoning = |item: &Item| matches!(item, Item::Reasoning(_));
    let mut others = conversation
        .iter()
        .enumerate()
        .filter(|(_, item)| !is_reasoning(item))
        .skip(len);
    let mut end = None;
    for expected in answer.iter().filter(|item| !item.is_reasoning()) {
        let (index, item) = others.next()?;
        if !expected.is_returned_as(item) {
            return None;
        }
        end = Some(index + 1);
    }
    end
}

/// Returns the places of the reasoning items of `answer`, which follows `len` items that are not reasoning.
pub fn reasoning_places(len: usize, answer: &[AnswerItem]) -> impl Iterator<Item = ReasoningPlace> {
    let mut place = len;
    answer.iter().filter_map(move |item| match item {
        AnswerItem::Reasoning(digest) => Some((place, *digest)),
        AnswerItem::Message { .. } | AnswerItem::ToolCall(_) => {
            place += 1;
            None
        }
    })
}
