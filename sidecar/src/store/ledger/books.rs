//! The accounts of all keys with their open reservations, changed row by row: the rows are those of the file.

use std::collections::HashMap;
use std::sync::Arc;

use super::account::Account;
use super::budget::{Budget, Tokens};
use crate::turn::Period;

/// A change of the ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Row {
    /// The tokens of an open reservation, new or changed.
    Reserve {
        id: i64,
        client: Arc<str>,
        tokens: Tokens,
    },
    /// The end of a reservation.
    Close { id: i64 },
    /// Tokens that were spent in a bucket.
    Spend {
        client: Arc<str>,
        period: Period,
        bucket: u64,
        tokens: Tokens,
    },
}

/// An open reservation.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) client: Arc<str>,
    pub(super) tokens: Tokens,
}

/// The accounts and the open reservations.
#[derive(Debug, Default)]
pub(super) struct Books {
    accounts: HashMap<Arc<str>, Account>,
    reservations: HashMap<i64, Open>,
}

impl Books {
    /// Returns the account of a key.
    pub(super) fn account(&mut self, client: &str) -> &mut Account {
        // Entered at the first look: keys are few, and the filter has authenticated them.
        if !self.accounts.contains_key(client) {
            self.accounts.insert(client.into(), Account::default());
        }
        self.accounts.get_mut(client).expect("inserted above")
    }

    pub(super) fn reservation(&self, id: i64) -> Option<&Open> {
        self.reservations.get(&id)
    }

    /// Returns the row that changes a reservation back to its present state.
    pub(super) fn undo(&self, id: i64) -> Row {
        match self.reservations.get(&id) {
            Some(open) => Row::Reserve {
                id,
                client: Arc::clone(&open.client),
                tokens: open.tokens,
            },
            None => Row::Close { id },
        }
    }

    /// Returns the rows that close a reservation and spend `tokens` at `now`.
    pub(super) fn settle(
        &mut self,
        id: i64,
        client: &Arc<str>,
        budget: &Budget,
        tokens: Tokens,
        now: u64,
    ) -> Vec<Row> {
        let mut rows = vec![Row::Close { id }];
        if tokens != Tokens::default() {
            let buckets = self.account(client).buckets(budget, now).into_iter();
            rows.extend(buckets.map(|(period, bucket)| Row::Spend {
                client: Arc::clone(client),
                period,
                bucket,
                tokens,
            }));
        }
        rows
    }

    /// Applies a change.
    pub(super) fn apply(&mut self, row: &Row) {
        match row {
            Row::Reserve { id, client, tokens } => {
                let earlier = self.reservations.insert(
                    *id,
                    Open {
                        client: Arc::clone(client),
                        tokens: *tokens,
                    },
                );
                let account = self.account(client);
                let released = earlier.map_or(Tokens::default(), |open| open.tokens);
                account.reserved = account.reserved.minus(released).plus(*tokens);
            }
            Row::Close { id } => {
                if let Some(open) = self.reservations.remove(id) {
                    let account = self.account(&open.client);
                    account.reserved = account.reserved.minus(open.tokens);
                }
            }
            Row::Spend {
                client,
                period,
                bucket,
                tokens,
            } => self.account(client).add(*period, *bucket, *tokens),
        }
    }
}
