//! What turns cost: a record each, the log that keeps them, and their sums.
//! The log is lines of JSON, appended to and never changed; the contract's section 8 names what a record holds.

pub mod metrics;
pub mod rotating_log;
pub mod trace_context;
mod usage_log;
mod usage_record;
mod usage_totals;

pub use usage_log::UsageLog;
pub use usage_record::{Record, TokenSource};
pub use usage_totals::{Interval, Totals, UsageFilter, UsageTotals};
