//! The ledger of this process, shared by its handles and its writer.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::state::{Granted, LocalState};
use crate::store::ledger::account::{LimitStatus, ReserveError};
use crate::store::ledger::budget::{Budget, Tokens};
use crate::store::ledger::clock::Clock;
use crate::store::ledger::reservation::Settlement;
use crate::store::notes::Note;
use crate::turn::Grant;

/// The ledger of this process.
#[derive(Debug)]
pub(in crate::store::ledger) struct LocalLedger {
    state: Mutex<LocalState>,
    clock: Clock,
    /// Whether the last write has succeeded.
    is_writable: AtomicBool,
}

impl LocalLedger {
    /// Returns a ledger without any tokens. `first_row` is the number of the first allocation in the file, if there is one.
    pub(in crate::store::ledger) fn new(clock: Clock, first_row: Option<i64>) -> Self {
        let state = LocalState::new(first_row);
        Self {
            state: Mutex::new(state),
            clock,
            is_writable: AtomicBool::new(true),
        }
    }

    pub(super) fn lock(&self) -> MutexGuard<'_, LocalState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Whether the last write of the file has succeeded.
    pub(in crate::store::ledger) fn is_writable(&self) -> bool {
        self.is_writable.load(Ordering::Relaxed)
    }

    pub(super) fn set_writable(&self, is_writable: bool) {
        self.is_writable.store(is_writable, Ordering::Relaxed);
    }

    /// Reserves tokens that the allocation of the key covers. `None` is left to the writer: the allocation must grow first, or
    /// another process may have settled tokens since.
    pub(in crate::store::ledger) fn reserve(
        &self,
        client: &Arc<str>,
        budget: &Arc<Budget>,
        input: u64,
    ) -> Option<Result<Granted, ReserveError>> {
        let now = self.now_ms();
        let mut state = self.lock();
        let begun = state.books.account(client).begin(budget, input, now);
        match begun {
            Ok((tokens, limits)) if state.covers(client, tokens) => {
                Some(Ok(state.enter(client, budget, tokens, limits)))
            }
            Err(error) if !state.has_file() => Some(Err(error)),
            Ok(_) | Err(_) => None,
        }
    }

    /// Grants a slice of output that the allocation of the key covers. `None` is left to the writer.
    pub(in crate::store::ledger) fn extend(
        &self,
        id: i64,
        budget: &Budget,
        largest: u64,
    ) -> Option<Grant> {
        let now = self.now_ms();
        let mut state = self.lock();
        let (client, grant) = state.next_slice(id, budget, largest, now)?;
        match grant {
            Grant::Tokens(output) if state.covers(&client, Tokens { input: 0, output }) => {
                state.books.extend(id, output);
                Some(Grant::Tokens(output))
            }
            grant if !state.has_file() => Some(grant),
            _ => None,
        }
    }

    /// Closes a reservation, and spends its tokens. Returns whether the writer must be told that there is something to
    /// write.
    pub(in crate::store::ledger) fn settle(&self, settlement: &Settlement) -> bool {
        let now = self.now_ms();
        let mut state = self.lock();
        state.settle(settlement, now);
        state.ask_for_write()
    }

    /// Keeps a note for the next write. Returns the same as [`Self::settle`].
    pub(in crate::store::ledger) fn note(&self, note: Note) -> bool {
        let mut state = self.lock();
        state.note(note);
        state.ask_for_write()
    }

    /// Returns the limits of a key, without the changes of other processes since the last write.
    pub(in crate::store::ledger) fn status(
        &self,
        client: &str,
        budget: &Budget,
    ) -> Vec<LimitStatus> {
        let now = self.now_ms();
        self.lock().status(client, budget, now)
    }
}
