//! State that outlives a turn: stored responses with their conversations, reasoning items, and the ledger of budgets.

mod archive;
mod conversation;
pub mod ledger;
mod limits;
mod notes;
mod reasoning;
mod redis;
mod response_record;
mod responses;
mod shared;
mod sqlite;
mod state;
mod sync;
#[cfg(test)]
mod tests;
mod usage;

pub use archive::{ArchiveError, ArchiveWriter, ResponseArchive};
pub use conversation::ConversationNode;
pub use limits::StoreLimits;
pub use notes::SessionIds;
pub use reasoning::{ReasoningCache, ReasoningCollector};
pub use redis::{RedisAddress, RedisAddressError, probe as probe_redis};
pub use response_record::ResponseRecord;
pub use responses::{ResponseStore, RunningResponse, StoredResponse};
pub use shared::{ArchiveWrite, SharedResponses};
pub use state::{StatePlace, Unavailable, check_file};
pub use usage::{UsageCount, UsageHour, UsageSums};
