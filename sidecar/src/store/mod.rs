//! State that outlives a turn: stored responses with their conversations, reasoning items, and the ledger of budgets.

mod conversation;
pub mod ledger;
mod reasoning;
mod responses;
#[cfg(test)]
mod tests;

pub use conversation::ConversationNode;
pub use reasoning::{ReasoningCache, ReasoningCollector};
pub use responses::{ResponseRecord, ResponseStore, RunningResponse, StoreLimits, StoredResponse};
