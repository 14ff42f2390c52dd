//! The books with the allocations of the file, and the changes that are not written yet.

use std::collections::{HashMap, HashSet};
use std::mem::{replace, take};
use std::sync::Arc;

use super::allocation::Allocation;
use super::books::{Accounts, Books, SpentIn};
use crate::store::ledger::account::LimitStatus;
use crate::store::ledger::budget::{Budget, Tokens};
use crate::store::ledger::command::Budgets;
use crate::store::ledger::reservation::Settlement;
use crate::store::notes::Note;
use crate::turn::Grant;

/// The most notes that wait for a write.
const MAX_NOTES: usize = 4096;

/// A reservation that is entered in the books.
#[derive(Debug)]
pub(in crate::store::ledger) struct Granted {
    pub(in crate::store::ledger) id: i64,
    /// The tokens of the first slice of output.
    pub(in crate::store::ledger) first_output: u64,
    /// The limits of the key with this reservation.
    pub(in crate::store::ledger) limits: Vec<LimitStatus>,
}

/// The books, and the changes that are not written yet.
#[derive(Debug)]
pub(super) struct LocalState {
    pub(super) books: Books,
    /// The budgets of the keys, as their last requests had them.
    pub(super) budgets: Budgets,
    /// `None` without a file, where nothing needs an allocation.
    allocations: Option<HashMap<Arc<str>, Allocation>>,
    /// The number of the next row for an allocation.
    next_row: i64,
    /// Keys with allocations that the next write may change.
    touched: HashSet<Arc<str>>,
    /// Spent tokens that are not written yet. The books have them.
    spent: HashMap<SpentIn, Tokens>,
    /// Notes that are not written yet.
    notes: Vec<Note>,
    /// Whether the writer knows that there is something to write.
    is_write_asked: bool,
    last_id: i64,
}

/// A write of the file.
#[derive(Debug, Default)]
pub(super) struct Change {
    pub(super) spent: HashMap<SpentIn, Tokens>,
    pub(super) allocations: Vec<AllocationChange>,
    pub(super) notes: Vec<Note>,
}

impl Change {
    /// Whether the file stays as it is.
    pub(super) fn is_empty(&self) -> bool {
        let is_same = |of: &AllocationChange| of.after == of.before.tokens;
        self.spent.is_empty() && self.notes.is_empty() && self.allocations.iter().all(is_same)
    }
}

/// The change of an allocation.
#[derive(Debug)]
pub(super) struct AllocationChange {
    pub(super) client: Arc<str>,
    /// The allocation before the change, with the settlements that the change writes.
    pub(super) before: Allocation,
    /// The tokens after the change.
    pub(super) after: Tokens,
}

impl LocalState {
    /// Returns books without any tokens. `first_row` is the number of the first allocation in the file, if there is one.
    pub(super) fn new(first_row: Option<i64>) -> Self {
        Self {
            books: Books::default(),
            budgets: Budgets::new(),
            allocations: first_row.map(|_| HashMap::new()),
            next_row: first_row.unwrap_or_default(),
            touched: HashSet::new(),
            spent: HashMap::new(),
            notes: Vec::new(),
            is_write_asked: false,
            last_id: 0,
        }
    }

    /// Whether the books have a file.
    pub(super) fn has_file(&self) -> bool {
        self.allocations.is_some()
    }

    /// Whether the allocation of the key has room for these tokens too.
    pub(super) fn covers(&mut self, client: &str, tokens: Tokens) -> bool {
        let Some(allocations) = &self.allocations else {
            return true;
        };
        let reserved = self.books.account(client).reserved.plus(tokens);
        allocations
            .get(client)
            .is_some_and(|of| of.covers(reserved))
    }

    /// Enters a reservation into the books.
    pub(super) fn enter(
        &mut self,
        client: &Arc<str>,
        budget: &Arc<Budget>,
        tokens: Tokens,
        limits: Vec<LimitStatus>,
    ) -> Granted {
        self.budgets.insert(Arc::clone(client), Arc::clone(budget));
        self.last_id += 1;
        self.books.reserve(self.last_id, Arc::clone(client), tokens);
        Granted {
            id: self.last_id,
            first_output: tokens.output,
            limits,
        }
    }

    /// Returns the next slice of an open reservation, which is not entered yet, and the client of the reservation.
    pub(super) fn next_slice(
        &mut self,
        id: i64,
        budget: &Budget,
        largest: u64,
        now: u64,
    ) -> Option<(Arc<str>, Grant)> {
        let client = Arc::clone(&self.books.reservation(id)?.client);
        let grant = self.books.account(&client).extend(budget, now, largest);
        Some((client, grant))
    }

    /// Closes a reservation, and spends its tokens.
    pub(super) fn settle(&mut self, settlement: &Settlement, now: u64) {
        let Settlement { id, client, .. } = settlement;
        let (mut tokens, reserved) = (settlement.tokens, self.books.close(*id));
        if settlement.is_used_up {
            tokens.output = tokens.output.max(reserved.output);
        }
        let has_file = self.has_file();
        if has_file {
            self.touch(client);
        }
        if tokens == Tokens::default() {
            return;
        }
        let buckets = self.books.account(client).buckets(&settlement.budget, now);
        for (period, bucket) in buckets {
            let spent_in = SpentIn {
                client: Arc::clone(client),
                period,
                bucket,
            };
            self.books.spend(&spent_in, tokens);
            if has_file {
                self.add_unwritten(spent_in, tokens);
            }
        }
        if let Some(allocation) = self.allocation(client) {
            allocation.unwritten = allocation.unwritten.plus(tokens);
        }
    }

    fn add_unwritten(&mut self, spent_in: SpentIn, tokens: Tokens) {
        let sum = self.spent.entry(spent_in).or_default();
        *sum = sum.plus(tokens);
    }

    fn allocation(&mut self, client: &str) -> Option<&mut Allocation> {
        self.allocations.as_mut()?.get_mut(client)
    }

    /// Keeps a note for the next write, or drops it where the writer hangs.
    pub(super) fn note(&mut self, note: Note) {
        self.notes.retain(|earlier| !note.replaces(earlier));
        if self.notes.len() < MAX_NOTES {
            self.notes.push(note);
        }
    }

    /// Notes the budget of a key, and returns the key's limits.
    pub(super) fn status(&mut self, client: &str, budget: &Budget, now: u64) -> Vec<LimitStatus> {
        let known = self.budgets.get(client);
        if known.is_none_or(|known| **known != *budget) {
            self.budgets.insert(client.into(), Arc::new(budget.clone()));
        }
        self.books.account(client).status(budget, now)
    }

    /// Whether the writer must be told of a change: true for the first one since the last write, false without a file.
    pub(super) fn ask_for_write(&mut self) -> bool {
        let has_file = self.has_file();
        let is_known = replace(&mut self.is_write_asked, has_file);
        self.is_write_asked && !is_known
    }

    /// Marks the allocation of the key for the next write.
    pub(super) fn touch(&mut self, client: &Arc<str>) {
        self.touched.insert(Arc::clone(client));
    }

    /// Takes the accounts of the file, and adds the tokens that are not written yet.
    pub(super) fn replace_accounts(&mut self, accounts: Accounts) {
        self.books.replace_accounts(accounts);
        for (spent_in, tokens) in &self.spent {
            self.books.spend(spent_in, *tokens);
        }
    }

    /// Takes the changes for the next write. Until its end an allocation covers only tokens that the file has before and after
    /// it.
    pub(super) fn take_change(&mut self, now: u64) -> Change {
        self.is_write_asked = false;
        let Some(allocations) = &mut self.allocations else {
            return Change::default();
        };
        let mut changes = Vec::new();
        for client in self.touched.drain() {
            let Some(budget) = self.budgets.get(&client) else {
                continue;
            };
            let next_row = &mut self.next_row;
            let allocation = allocations.entry(Arc::clone(&client)).or_insert_with(|| {
                *next_row = next_row.wrapping_add(1);
                Allocation::new(*next_row)
            });
            let account = self.books.account(&client);
            let after = allocation.renewed(account, budget, now);
            if after != Tokens::default() {
                // So that the allocation counts in them after a crash.
                for (period, bucket) in account.new_periods(budget, now) {
                    let client = Arc::clone(&client);
                    let unused = SpentIn {
                        client,
                        period,
                        bucket,
                    };
                    account.add(period, bucket, Tokens::default());
                    self.spent.entry(unused).or_default();
                }
            }
            let before = *allocation;
            allocation.tokens = after.least(allocation.tokens);
            changes.push(AllocationChange {
                client,
                before,
                after,
            });
        }
        Change {
            spent: take(&mut self.spent),
            allocations: changes,
            notes: take(&mut self.notes),
        }
    }

    /// Ends a change that is written.
    pub(super) fn finish(&mut self, change: &Change) {
        for written in &change.allocations {
            if let Some(allocation) = self.allocation(&written.client) {
                allocation.tokens = written.after;
                allocation.unwritten = allocation.unwritten.minus(written.before.unwritten);
            }
        }
    }

    /// Keeps the settlements of a change that could not be written, for the next one.
    pub(super) fn put_back(&mut self, change: Change) {
        for (spent_in, tokens) in change.spent {
            self.add_unwritten(spent_in, tokens);
        }
        for kept in change.allocations {
            if let Some(allocation) = self.allocation(&kept.client) {
                allocation.tokens = kept.before.tokens;
            }
            self.touched.insert(kept.client);
        }
        // Notes are dropped: later turns teach the same, and a disk may stay full for long.
    }
}
