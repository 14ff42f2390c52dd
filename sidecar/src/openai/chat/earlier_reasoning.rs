//! The reasoning items that go back to the model with a chat's history, which has no field for them.

use crate::store::ReasoningCache;
use crate::turn::{Item, ReasoningItem, Role};

/// The cached reasoning items of one client.
#[derive(Debug, Clone, Copy)]
pub struct ClientReasoning<'a> {
    /// The reasoning items of all clients.
    pub cache: &'a ReasoningCache,
    /// The id of the client.
    pub client: &'a str,
}

impl ClientReasoning<'_> {
    /// Returns the items that came before the tool call with this id; empty when they are not known.
    pub(super) fn before_call(&self, call_id: &str) -> Vec<ReasoningItem> {
        self.cache.before_call(self.client, call_id)
    }

    /// Returns the items that came before a message with this `reasoning_content` and text; empty when they are not
    /// known.
    pub(super) fn before_text(&self, summary: &str, text: &str) -> Vec<ReasoningItem> {
        self.cache.before_text(self.client, summary, text)
    }

    /// Inserts the items that are known before the calls of `conversation` that have none, and before the message of
    /// the model that such a call follows: the order in which the provider returned them.
    pub(crate) fn restore(&self, conversation: Vec<Item>) -> Vec<Item> {
        let mut items: Vec<Item> = Vec::with_capacity(conversation.len());
        for item in conversation {
            if let Item::ToolCall(call) = &item {
                let message = items.iter().rev().take_while(|item| is_answer(item));
                let place = items.len() - message.count();
                let is_known = matches!(items[..place].last(), Some(Item::Reasoning(_)));
                if !is_known {
                    let reasoning = self.before_call(&call.call_id);
                    items.splice(place..place, reasoning.into_iter().map(Item::Reasoning));
                }
            }
            items.push(item);
        }
        items
    }
}

fn is_answer(item: &Item) -> bool {
    matches!(item, Item::Message(message) if message.role == Role::Assistant)
}
