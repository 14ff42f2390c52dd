//! The ledger: the tokens that each key has spent, and those that are promised to its turns.
//!
//! A turn reserves its tokens before it spends them, so that parallel turns cannot together promise more than is left.
//! With a file or Redis, a reservation is written before it is granted. After a crash, those that are open count as spent.

mod account;
mod books;
mod budget;
mod clock;
mod command;
mod handle;
mod ratios;
mod redis;
mod sqlite;
#[cfg(test)]
mod tests;
mod window;
mod writer;

pub use account::{LimitStatus, ReserveError};
pub use budget::{Budget, BudgetError, Tokens};
pub use clock::Clock;
pub use command::Reservation;
pub use handle::{Ledger, UsageError};
pub use ratios::TokenRatios;
pub use writer::{LedgerOpenError, LedgerWriter};
