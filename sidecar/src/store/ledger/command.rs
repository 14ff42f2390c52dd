//! The commands to the writer of the ledger.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::account::{LimitStatus, ReserveError};
use super::budget::Budget;
use super::reservation::{Reservation, Settlement};
use crate::store::notes::Note;
use crate::store::usage::{UsageCount, UsageHour};
use crate::turn::Grant;

/// A command to the writer.
#[derive(Debug)]
pub(super) enum Command {
    Reserve {
        client: Arc<str>,
        budget: Arc<Budget>,
        input: u64,
        reply: oneshot::Sender<Result<Reservation, ReserveError>>,
    },
    Extend {
        id: i64,
        client: Arc<str>,
        budget: Arc<Budget>,
        /// The most tokens of the slice.
        largest: u64,
        reply: oneshot::Sender<Grant>,
    },
    /// In Redis.
    Settle(Settlement),
    /// The books of this process have settlements or notes that are to be written to the file.
    Write,
    Status {
        client: Arc<str>,
        budget: Arc<Budget>,
        reply: oneshot::Sender<Vec<LimitStatus>>,
    },
    /// Adds a turn to the usage of a client, where several sidecars share it.
    CountUsage(UsageCount),
    Usage {
        /// `None` is all clients.
        client: Option<Arc<str>>,
        reply: oneshot::Sender<Vec<UsageHour>>,
    },
    /// In Redis.
    Note(Note),
    StatusOfAll {
        reply: oneshot::Sender<Vec<(Arc<str>, Vec<LimitStatus>)>>,
    },
}

impl Command {
    /// Whether the answer waits until the change is in the file.
    pub(super) fn needs_write(&self) -> bool {
        matches!(self, Self::Reserve { .. } | Self::Extend { .. })
    }

    /// Notes the budget of the key that a command is about.
    pub(super) fn note_budget(&self, budgets: &mut Budgets) {
        if let Self::Reserve { client, budget, .. } | Self::Status { client, budget, .. } = self {
            budgets.insert(Arc::clone(client), Arc::clone(budget));
        }
    }
}

/// The budgets of the keys, as their last requests had them.
pub(super) type Budgets = HashMap<Arc<str>, Arc<Budget>>;
