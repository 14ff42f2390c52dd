//! The commands to the writer of the ledger, and the reservation of a turn, which sends them.

use std::fmt;
use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::account::{LimitStatus, ReserveError};
use super::budget::{Budget, Tokens};
use crate::store::usage::{UsageCount, UsageHour};
use crate::turn::{Grant, OutputBudget, Usage};

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
        reply: oneshot::Sender<Grant>,
    },
    Settle {
        id: i64,
        client: Arc<str>,
        budget: Arc<Budget>,
        tokens: Tokens,
        /// Whether all output that was granted is spent, whatever `tokens` says.
        is_used_up: bool,
    },
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
    StatusOfAll {
        reply: oneshot::Sender<Vec<(Arc<str>, Vec<LimitStatus>)>>,
    },
}

/// The reserved tokens of a turn. Dropping it without a settlement spends nothing.
pub struct Reservation {
    pub(super) commands: mpsc::Sender<Command>,
    pub(super) id: i64,
    pub(super) client: Arc<str>,
    pub(super) budget: Arc<Budget>,
    /// The tokens of the first slice.
    pub(super) first_output: u64,
    pub(super) spent: Tokens,
    pub(super) is_used_up: bool,
}

impl Reservation {
    /// Returns the client of the turn.
    pub fn client(&self) -> &str {
        &self.client
    }

    /// Returns the budget that the turn is reserved against.
    pub fn budget(&self) -> &Budget {
        &self.budget
    }

    /// Returns the tokens of output that are granted with the reservation.
    pub fn first_output(&self) -> u64 {
        self.first_output
    }

    /// Returns the source of further slices of output.
    pub fn output_budget(&self) -> Box<dyn OutputBudget> {
        Box::new(SliceSource {
            commands: self.commands.clone(),
            id: self.id,
            client: Arc::clone(&self.client),
            budget: Arc::clone(&self.budget),
        })
    }

    /// Closes the reservation, and spends the tokens of `usage`.
    pub fn settle(mut self, usage: &Usage) {
        self.spent = self.budget.weigh(usage);
    }

    /// As [`Self::settle`], for a turn that the budget has ended: it has used all output that was granted.
    pub fn settle_used_up(mut self, usage: &Usage) {
        self.is_used_up = true;
        self.settle(usage);
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reservation").field(&self.id).finish()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let settle = Command::Settle {
            id: self.id,
            client: Arc::clone(&self.client),
            budget: Arc::clone(&self.budget),
            tokens: self.spent,
            is_used_up: self.is_used_up,
        };
        self.commands.try_send(settle).ok(); // After the end of the writer, the next start counts it as spent.
    }
}

#[derive(Debug)]
struct SliceSource {
    commands: mpsc::Sender<Command>,
    id: i64,
    client: Arc<str>,
    budget: Arc<Budget>,
}

impl OutputBudget for SliceSource {
    fn ask(&mut self) -> oneshot::Receiver<Grant> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Extend {
            id: self.id,
            client: Arc::clone(&self.client),
            budget: Arc::clone(&self.budget),
            reply,
        };
        self.commands.try_send(command).ok(); // The dropped reply ends the wait.
        answer
    }
}
