//! State that outlives a turn: stored responses with their conversations, and reasoning items.

mod conversation;
mod reasoning;
mod responses;
#[cfg(test)]
mod tests;

pub use conversation::ConversationNode;
pub use reasoning::{ReasoningCache, ReasoningCollector};
pub use responses::{ResponseRecord, ResponseStore, RunningResponse, StoreLimits, StoredResponse};
