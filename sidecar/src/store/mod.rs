//! State that outlives a turn: stored responses with their conversations, reasoning items, and the ledger of budgets.

mod conversation;
pub mod ledger;
mod reasoning;
mod redis;
mod responses;
mod state;
#[cfg(test)]
mod tests;

pub use conversation::ConversationNode;
pub use reasoning::{ReasoningCache, ReasoningCollector};
pub use redis::{RedisAddress, RedisAddressError};
pub use responses::{ResponseRecord, ResponseStore, RunningResponse, StoreLimits, StoredResponse};
pub use state::{StatePlace, Unavailable};
