//! The allocation of a key: the tokens that the file has set aside for this process.

use crate::store::ledger::account::Account;
use crate::store::ledger::budget::{Budget, Tokens};

/// An allocation.
#[derive(Debug, Clone, Copy)]
pub(super) struct Allocation {
    /// The number of the row in the file, the same as long as the process runs.
    pub(super) row: i64,
    /// The tokens in the file.
    pub(super) tokens: Tokens,
    /// Tokens of settlements that are not written yet. Until then the file has them as part of `tokens`.
    pub(super) unwritten: Tokens,
}

impl Allocation {
    pub(super) fn new(row: i64) -> Self {
        Self {
            row,
            tokens: Tokens::default(),
            unwritten: Tokens::default(),
        }
    }

    /// Whether so many reserved tokens are in the file.
    pub(super) fn covers(&self, reserved: Tokens) -> bool {
        reserved.plus(self.unwritten).fit_into(self.tokens)
    }

    /// Returns the tokens of the next write, which writes all settlements: those of the open reservations, and room for
    /// further turns; none without a reservation. An allocation with enough room stays.
    pub(super) fn renewed(&self, account: &Account, budget: &Budget, now: u64) -> Tokens {
        let reserved = account.reserved;
        if reserved == Tokens::default() {
            return Tokens::default();
        }
        let room = account.allocation_room(budget, now);
        let least = reserved.plus(room.half());
        let most = reserved.plus(room).plus(room);
        if least.fit_into(self.tokens) && self.tokens.fit_into(most) {
            self.tokens
        } else {
            reserved.plus(room)
        }
    }
}
