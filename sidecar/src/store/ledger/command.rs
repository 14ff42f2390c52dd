//! The commands to the writer of the ledger, and the reservation of a turn, which sends them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::{mpsc, oneshot};

use super::account::{LimitStatus, MAX_SLICE, ReserveError};
use super::budget::{Budget, Tokens};
use crate::store::notes::{Note, NoteSink};
use crate::store::usage::{UsageCount, UsageHour};
use crate::turn::{Grant, OutputBudget, Usage};

/// The largest slice of a stream that uses up its slices within [`SHORT`]; a crash loses what it writes in about a second.
const MAX_FAST_SLICE: u64 = 8192;

/// Time between two requests for a slice below which the next slice is twice as large.
const SHORT: Duration = Duration::from_millis(250);

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
    Settle(Settlement),
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

/// Weak, so that the writer ends with the last handle of the ledger.
impl NoteSink for mpsc::WeakSender<Command> {
    fn note(&self, note: Note) {
        if let Some(commands) = self.upgrade() {
            commands.try_send(Command::Note(note)).ok(); // The writer hangs.
        }
    }
}

/// The budgets of the keys, as their last requests had them.
pub(super) type Budgets = HashMap<Arc<str>, Arc<Budget>>;

/// The end of a reservation.
#[derive(Debug, Clone)]
pub(super) struct Settlement {
    pub(super) id: i64,
    pub(super) client: Arc<str>,
    pub(super) budget: Arc<Budget>,
    /// The tokens that the turn has spent.
    pub(super) tokens: Tokens,
    /// Whether all output that was granted is spent, whatever `tokens` says.
    pub(super) is_used_up: bool,
}

impl Settlement {
    /// Returns the end of a reservation that spends nothing.
    pub(super) fn of_nothing(id: i64, client: Arc<str>, budget: Arc<Budget>) -> Self {
        Self {
            id,
            client,
            budget,
            tokens: Tokens::default(),
            is_used_up: false,
        }
    }
}

/// The reserved tokens of a turn. Dropping it without a settlement spends nothing.
pub struct Reservation {
    commands: mpsc::Sender<Command>,
    /// The tokens of the first slice.
    first_output: u64,
    /// The limits of the key with this reservation; none if the ledger is away and the key passes.
    limits: Vec<LimitStatus>,
    /// Sent when the reservation is dropped.
    settlement: Settlement,
}

impl Reservation {
    /// Returns a reservation with a first slice of `first_output` tokens, which sends `settlement` at its end.
    pub(super) fn new(
        commands: mpsc::Sender<Command>,
        first_output: u64,
        limits: Vec<LimitStatus>,
        settlement: Settlement,
    ) -> Self {
        Self {
            commands,
            first_output,
            limits,
            settlement,
        }
    }

    /// Returns the number of the reservation.
    pub(super) fn id(&self) -> i64 {
        self.settlement.id
    }

    /// Returns the client of the turn.
    pub fn client(&self) -> &str {
        &self.settlement.client
    }

    /// Returns the budget that the turn is reserved against.
    pub fn budget(&self) -> &Budget {
        &self.settlement.budget
    }

    /// Returns the tokens of output that are granted with the reservation.
    pub fn first_output(&self) -> u64 {
        self.first_output
    }

    /// Returns the limits of the key when the reservation began.
    pub fn limits(&self) -> &[LimitStatus] {
        &self.limits
    }

    /// Returns the source of further slices of output.
    pub fn output_budget(&self) -> Box<dyn OutputBudget> {
        Box::new(SliceSource {
            commands: self.commands.clone(),
            id: self.settlement.id,
            client: Arc::clone(&self.settlement.client),
            budget: Arc::clone(&self.settlement.budget),
            largest: MAX_SLICE,
            asked: None,
        })
    }

    /// Closes the reservation, and spends the tokens of `usage`.
    pub fn settle(mut self, usage: &Usage) {
        self.settlement.tokens = self.settlement.budget.weigh(usage);
    }

    /// As [`Self::settle`], for a turn that the budget has ended: it has used all output that was granted.
    pub fn settle_used_up(mut self, usage: &Usage) {
        self.settlement.is_used_up = true;
        self.settle(usage);
    }
}

impl fmt::Debug for Reservation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Reservation").field(&self.id()).finish()
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let settle = Command::Settle(self.settlement.clone());
        self.commands.try_send(settle).ok(); // After the end of the writer, the next start counts it as spent.
    }
}

#[derive(Debug)]
struct SliceSource {
    commands: mpsc::Sender<Command>,
    id: i64,
    client: Arc<str>,
    budget: Arc<Budget>,
    /// The most tokens of a slice.
    largest: u64,
    /// The time of the last request for a slice.
    asked: Option<Instant>,
}

impl SliceSource {
    /// Returns the most tokens of the next slice: twice as many for a stream that writes faster than any model, so that
    /// the ledger is not written thousands of times a second.
    fn next_largest(&mut self) -> u64 {
        let now = Instant::now();
        let last = self.asked.replace(now);
        let is_fast = last.is_some_and(|last| now.duration_since(last) < SHORT);
        self.largest = match is_fast {
            true => (self.largest * 2).min(MAX_FAST_SLICE),
            false => MAX_SLICE,
        };
        self.largest
    }
}

impl OutputBudget for SliceSource {
    fn ask(&mut self) -> oneshot::Receiver<Grant> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Extend {
            id: self.id,
            client: Arc::clone(&self.client),
            budget: Arc::clone(&self.budget),
            largest: self.next_largest(),
            reply,
        };
        self.commands.try_send(command).ok(); // The dropped reply ends the wait.
        answer
    }
}
