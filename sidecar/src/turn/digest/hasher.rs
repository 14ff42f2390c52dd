//! The hash over fields, and the fields of each kind of item.

use sha2::{Digest as _, Sha256};

use super::digests::Digest;
use crate::turn::{
    Content, Detail, Item, Message, Phase, ReasoningItem, Role, Tool, ToolCall, ToolKind,
};

/// Returns the digest of a reasoning item.
pub(super) fn reasoning(item: &ReasoningItem) -> Digest {
    let mut hash = Hasher::default();
    hash.optional(item.encrypted_content.as_deref());
    // Without the encrypted content the summary is all that the provider reads.
    if item.encrypted_content.is_none() {
        item.summary.iter().for_each(|text| hash.text(text));
    }
    hash.finish()
}

/// Returns the digest of a text without white space at its end.
pub(super) fn trimmed(text: &str) -> Digest {
    let mut hash = Hasher::default();
    hash.text(text.trim_end());
    hash.finish()
}

/// A hash over fields, each with its length, so that two lists of fields have one digest only if they are equal.
#[derive(Default)]
pub(super) struct Hasher(Sha256);

impl Hasher {
    pub(super) fn finish(self) -> Digest {
        Digest(self.0.finalize().into())
    }

    pub(super) fn byte(&mut self, byte: u8) {
        self.0.update([byte]);
    }

    pub(super) fn bytes(&mut self, bytes: &[u8]) {
        self.0.update((bytes.len() as u64).to_le_bytes());
        self.0.update(bytes);
    }

    pub(super) fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub(super) fn optional(&mut self, text: Option<&str>) {
        self.byte(u8::from(text.is_some()));
        self.text(text.unwrap_or_default());
    }

    pub(super) fn tool(&mut self, tool: &Tool) {
        self.text(&tool.name);
        let namespace = tool.namespace.as_deref();
        self.optional(namespace.map(|namespace| namespace.name.as_str()));
        self.optional(namespace.map(|namespace| namespace.description.as_str()));
        self.kind(tool.kind);
        self.text(&tool.description);
        self.text(tool.parameters.get());
    }

    pub(super) fn kind(&mut self, kind: ToolKind) {
        self.byte(match kind {
            ToolKind::Function => 0,
            ToolKind::Custom => 1,
        });
    }

    pub(super) fn item(&mut self, item: &Item) {
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

    pub(super) fn message(&mut self, message: &Message) {
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

    pub(super) fn tool_call(&mut self, call: &ToolCall) {
        self.text(&call.call_id);
        self.text(&call.name);
        self.optional(call.namespace.as_deref());
        self.kind(call.kind);
        self.text(&call.arguments);
    }

    pub(super) fn contents(&mut self, contents: &[Content]) {
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
                    self.optional(image.detail.map(Detail::as_str));
                }
            }
        }
    }
}
