//! What turns cost: a record each, the log that keeps them, and their sums.
//! The log is lines of JSON, appended to and never changed; the contract's section 8 names what a record holds.

mod account;
mod log;
mod record;
mod sums;

pub use account::{Account, Books, Entry};
pub use log::UsageLog;
pub use record::{Record, TokenSource};
pub use sums::{Group, Selection, Sums, Totals};
