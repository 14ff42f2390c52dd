//! Metrics, the usage log with its totals, the log files, trace ids, and the export of traces and metrics.
//!
//! The usage log has one JSON line per turn; lines are appended and never changed. Section 8 of the contract names the
//! fields of a record.

mod gauges;
pub mod metrics;
pub mod otel;
pub mod rotating_log;
mod stderr_log;
pub mod trace_context;
mod usage_log;
mod usage_record;
mod usage_table;
mod usage_totals;

pub use gauges::{BudgetGauge, Gauges, RateLimitGauge};
pub use stderr_log::StderrLog;
pub use usage_log::UsageLog;
pub use usage_record::{TokenSource, UsageRecord};
pub use usage_totals::{Interval, UsageFilter, UsageRow, UsageTotals};
