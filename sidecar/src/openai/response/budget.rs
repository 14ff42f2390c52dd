//! Budgets in wire format: the limit that ended a turn, and the state of a key's limits.
//! The shapes are specific to codex-edge; OpenAI has no budgets of keys.

use serde::Serialize;
use time::format_description::well_known::Rfc3339;
use time::{OffsetDateTime, UtcOffset};

use crate::store::ledger::LimitStatus;
use crate::turn::FinishReason;

/// The limit that ended a turn, beside its finish reason.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct SpentBudget {
    limit: String,
    resets_at: String,
}

impl SpentBudget {
    /// Returns the limit, if the turn ended because of one.
    pub(crate) fn of(reason: FinishReason) -> Option<Self> {
        match reason {
            FinishReason::Budget(limit) => Some(Self {
                limit: limit.name.to_string(),
                resets_at: rfc3339(limit.resets_at_ms),
            }),
            FinishReason::Stop
            | FinishReason::StopSequence(_)
            | FinishReason::Refused
            | FinishReason::ToolCalls
            | FinishReason::Length
            | FinishReason::ContentFilter => None,
        }
    }
}

/// The state of a limit, in tokens.
#[derive(Debug, Serialize)]
pub struct LimitBody {
    limit: String,
    tokens: u64,
    spent: u64,
    reserved: u64,
    remaining: u64,
    resets_at: String,
}

impl From<&LimitStatus> for LimitBody {
    fn from(status: &LimitStatus) -> Self {
        Self {
            limit: status.name.to_string(),
            tokens: status.limit,
            spent: status.spent,
            reserved: status.reserved,
            remaining: status.left(),
            resets_at: rfc3339(status.resets_at_ms),
        }
    }
}

/// Formats a time. One out of the range of RFC 3339, which no record of the sidecar has, becomes the epoch.
pub(crate) fn rfc3339(ms: u64) -> String {
    let nanos = i128::from(ms) * 1_000_000;
    let time = OffsetDateTime::from_unix_timestamp_nanos(nanos)
        .unwrap_or(OffsetDateTime::UNIX_EPOCH)
        .to_offset(UtcOffset::UTC);
    time.format(&Rfc3339).unwrap_or_default()
}
