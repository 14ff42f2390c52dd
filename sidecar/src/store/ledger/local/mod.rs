//! The ledger of one machine: its books are in memory, and may have a file.
//!
//! The file has one row for each key with open turns: the tokens that are set aside for this process, with room for further
//! turns. A turn that fits into this allocation begins without a write. Settlements are written together, 200 ms later at
//! most. After a crash the allocations of the dead process count as spent.

mod allocation;
mod books;
mod file;
mod ledger;
mod state;
#[cfg(test)]
mod tests;
mod writer;

pub(super) use file::LedgerFile;
pub(super) use ledger::LocalLedger;
pub(super) use state::Granted;
pub(super) use writer::LocalWriter;
