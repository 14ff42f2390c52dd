//! The ledger: the tokens that each key has spent, and those that are promised to its turns.
//!
//! A turn reserves its tokens before it spends them, so that parallel turns cannot together promise more than is left.
//! A file or Redis has the tokens of a turn before it begins. After a crash, those of open turns count as spent.

mod account;
mod budget;
mod client;
mod clock;
mod command;
mod handle;
mod local;
mod ratios;
mod redis;
mod reservation;
#[cfg(test)]
mod tests;
mod window;
mod writer;

pub use account::{LimitStatus, ReserveError};
pub use budget::{Budget, BudgetError, Tokens};
pub use clock::Clock;
pub use handle::{Ledger, UsageError};
pub use ratios::TokenRatios;
pub use reservation::Reservation;
pub use writer::{LedgerOpenError, LedgerWriter};
