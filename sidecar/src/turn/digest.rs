//! Digests of a conversation, by which a later request of the same conversation is recognised.
//!
//! The digest of each prefix covers the settings of the thread and the items so far, so that two requests with one digest
//! have the same beginning. Items of reasoning are not in it: a chat has no field for them. SHA-256, since a client
//! chooses the texts.

use std::collections::HashSet;
use std::fmt;

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::{
    Content, Item, Message, Phase, Profile, ReasoningItem, Role, Tool, ToolCall, ToolKind,
    TurnRequest,
};

/// A SHA-256 hash.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Digest([u8; 32]);

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02x}{:02x}..", self.0[0], self.0[1])
    }
}

/// The place of a reasoning item, as the number of other items before it, and its digest.
pub type ReasoningPlace = (usize, Digest);

/// The digests of a request.
#[derive(Debug, Clone, Default)]
pub struct ConversationDigest {
    /// By the number of items that are not reasoning: the digest of the settings and of so many items.
    prefixes: Vec<Digest>,
    /// The reasoning items of the conversation.
    reasoning: HashSet<ReasoningPlace>,
    /// The settings that Codex takes for each turn.
    turn_settings: Digest,
}

impl ConversationDigest {
    /// Returns the digests of a request; O(bytes of the request).
    pub fn of(request: &TurnRequest) -> Self {
        let mut prefix = thread_settings(request);
        let mut digest = Self {
            prefixes: vec![prefix],
            reasoning: HashSet::new(),
            turn_settings: turn_settings(request),
        };
        for item in &request.conversation {
            if let Item::Reasoning(item) = item {
                let place = digest.len();
                digest.reasoning.insert((place, reasoning(item)));
            } else {
                let mut hash = Hasher::default();
                hash.bytes(&prefix.0);
                hash.item(item);
                prefix = hash.finish();
                digest.prefixes.push(prefix);
            }
        }
        digest
    }

    /// Returns the number of items that are not reasoning.
    pub fn len(&self) -> usize {
        self.prefixes.len().saturating_sub(1)
    }

    /// Whether the digest is that of no request.
    pub fn is_empty(&self) -> bool {
        self.prefixes.is_empty()
    }

    /// Returns the digest of the first `len` items that are not reasoning.
    pub fn prefix(&self, len: usize) -> Option<Digest> {
        self.prefixes.get(len).copied()
    }

    /// Returns the digest of the settings that Codex takes for each turn.
    pub fn turn_settings(&self) -> Digest {
        self.turn_settings
    }

    /// Returns the reasoning items of the conversation.
    pub fn reasoning(&self) -> &HashSet<ReasoningPlace> {
        &self.reasoning
    }
}

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

/// The settings that a thread has from its start.
fn thread_settings(request: &TurnRequest) -> Digest {
    let mut hash = Hasher::default();
    let model = &request.model;
    hash.byte(match request.profile {
        Profile::Chat => 0,
        Profile::Agent => 1,
    });
    hash.text(&model.name);
    // The effort and the tier of a turn stay those of its thread, so that a turn without them would keep them.
    hash.optional(model.effort.as_ref().map(super::Effort::as_str));
    hash.optional(model.service_tier.as_deref());
    hash.optional(model.verbosity.map(super::Verbosity::as_str));
    request
        .tools
        .offered
        .iter()
        .for_each(|tool| hash.tool(tool));
    hash.finish()
}

fn turn_settings(request: &TurnRequest) -> Digest {
    let mut hash = Hasher::default();
    hash.text(request.summary.as_str());
    hash.optional(request.schema.as_deref().map(RawValue::get));
    hash.finish()
}

fn reasoning(item: &ReasoningItem) -> Digest {
    let mut hash = Hasher::default();
    hash.optional(item.encrypted_content.as_deref());
    // Without the encrypted content the summary is all that the provider reads.
    if item.encrypted_content.is_none() {
        item.summary.iter().for_each(|text| hash.text(text));
    }
    hash.finish()
}

fn trimmed(text: &str) -> Digest {
    let mut hash = Hasher::default();
    hash.text(text.trim_end());
    hash.finish()
}

/// A hash over fields, each with its length, so that two lists of fields have one digest only if they are equal.
#[derive(Default)]
struct Hasher(Sha256);

impl Hasher {
    fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }

    fn byte(&mut self, byte: u8) {
        self.0.update([byte]);
    }

    fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn optional(&mut self, text: Option<&str>) {
        self.byte(u8::from(text.is_some()));
        self.text(text.unwrap_or_default());
    }

    fn tool(&mut self, tool: &Tool) {
        self.text(&tool.name);
        let namespace = tool.namespace.as_deref();
        self.optional(namespace.map(|namespace| namespace.name.as_str()));
        self.optional(namespace.map(|namespace| namespace.description.as_str()));
        self.kind(tool.kind);
        self.text(&tool.description);
        self.text(tool.parameters.get());
    }

    fn kind(&mut self, kind: ToolKind) {
        self.byte(match kind {
            ToolKind::Function => 0,
            ToolKind::Custom => 1,
        });
    }

    fn item(&mut self, item: &Item) {
        match item {
            Item::Message(message) => {
                self.byte(0);
                self.message(message);
            }
            Item::ToolCall(call) => {
                self.byte(1);
                self.tool_call(call);
            }
            Item::ToolOutput(output) => {
                self.byte(2);
                self.text(&output.call_id);
                self.contents(&output.content);
            }
            Item::Reasoning(_) => {} // Compared by place.
        }
    }

    fn message(&mut self, message: &Message) {
        self.byte(match message.role {
            Role::Developer => 0,
            Role::User => 1,
            Role::Assistant => 2,
        });
        self.byte(match message.phase {
            None => 0,
            Some(Phase::Commentary) => 1,
            Some(Phase::FinalAnswer) => 2,
        });
        self.contents(&message.content);
    }

    fn tool_call(&mut self, call: &ToolCall) {
        self.text(&call.call_id);
        self.text(&call.name);
        self.optional(call.namespace.as_deref());
        self.kind(call.kind);
        self.text(&call.arguments);
    }

    fn contents(&mut self, contents: &[Content]) {
        self.0.update((contents.len() as u64).to_le_bytes());
        for content in contents {
            match content {
                Content::Text(text) => {
                    self.byte(0);
                    self.text(text);
                }
                Content::Image(image) => {
                    self.byte(1);
                    self.text(&image.url);
                    self.optional(image.detail.map(super::Detail::as_str));
                }
            }
        }
    }
}
