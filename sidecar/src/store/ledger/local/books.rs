//! The accounts of all keys, and the open reservations of this process.

use std::collections::HashMap;
use std::sync::Arc;

use crate::store::ledger::account::Account;
use crate::store::ledger::budget::Tokens;
use crate::turn::Period;

/// The accounts of keys.
pub(super) type Accounts = HashMap<Arc<str>, Account>;

/// An open reservation.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) client: Arc<str>,
    pub(super) tokens: Tokens,
}

/// The bucket of a key that tokens are spent in.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct SpentIn {
    pub(super) client: Arc<str>,
    pub(super) period: Period,
    /// The start of the bucket, in milliseconds since the Unix epoch.
    pub(super) bucket: u64,
}

/// The accounts and the open reservations.
#[derive(Debug, Default)]
pub(super) struct Books {
    accounts: Accounts,
    reservations: HashMap<i64, Open>,
}

impl Books {
    /// Returns the account of a key.
    pub(super) fn account(&mut self, client: &str) -> &mut Account {
        account_of(&mut self.accounts, client)
    }

    pub(super) fn reservation(&self, id: i64) -> Option<&Open> {
        self.reservations.get(&id)
    }

    pub(super) fn reserve(&mut self, id: i64, client: Arc<str>, tokens: Tokens) {
        let account = self.account(&client);
        account.reserved = account.reserved.plus(tokens);
        self.reservations.insert(id, Open { client, tokens });
    }

    /// Adds output to a reservation that is open.
    pub(super) fn extend(&mut self, id: i64, output: u64) {
        self.change(id, |tokens| tokens.plus(of_output(output)));
    }

    /// Takes output back from a reservation, unless it is closed.
    pub(super) fn shrink(&mut self, id: i64, output: u64) {
        self.change(id, |tokens| tokens.minus(of_output(output)));
    }

    fn change(&mut self, id: i64, change: impl Fn(Tokens) -> Tokens) {
        if let Some(open) = self.reservations.get_mut(&id) {
            open.tokens = change(open.tokens);
            let account = account_of(&mut self.accounts, &open.client);
            account.reserved = change(account.reserved);
        }
    }

    /// Closes a reservation, and returns its tokens. One that is closed has none.
    pub(super) fn close(&mut self, id: i64) -> Tokens {
        let Some(open) = self.reservations.remove(&id) else {
            return Tokens::default();
        };
        let account = self.account(&open.client);
        account.reserved = account.reserved.minus(open.tokens);
        open.tokens
    }

    pub(super) fn spend(&mut self, spent_in: &SpentIn, tokens: Tokens) {
        let account = self.account(&spent_in.client);
        account.add(spent_in.period, spent_in.bucket, tokens);
    }

    /// Takes the accounts of the file. The reservations of this process stay.
    pub(super) fn replace_accounts(&mut self, accounts: Accounts) {
        self.accounts = accounts;
        for open in self.reservations.values() {
            let account = account_of(&mut self.accounts, &open.client);
            account.reserved = account.reserved.plus(open.tokens);
        }
    }
}

fn of_output(output: u64) -> Tokens {
    Tokens { input: 0, output }
}

/// Returns the account of a key.
pub(super) fn account_of<'a>(accounts: &'a mut Accounts, client: &str) -> &'a mut Account {
    // Entered at the first look: keys are few, and the filter has authenticated them.
    if !accounts.contains_key(client) {
        accounts.insert(client.into(), Account::default());
    }
    accounts.get_mut(client).expect("inserted above")
}
