//! The reservation of a turn.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::account::{LimitStatus, MAX_SLICE};
use super::budget::{Budget, Tokens};
use crate::turn::{Grant, OutputBudget, Usage};

/// The largest slice of a stream that uses up its slices within [`SHORT`]; a crash loses what it writes in about a second.
const MAX_FAST_SLICE: u64 = 8192;

/// Time between two requests for a slice below which the next slice is twice as large.
const SHORT: Duration = Duration::from_millis(250);

/// The ledger, as the reservations of turns use it.
pub(super) trait ReservationLedger: fmt::Debug + Send + Sync {
    /// Asks for a slice of at most `largest` tokens of output for the reservation of `settlement`. A sender that is dropped
    /// is a ledger that cannot be written.
    fn extend(&self, settlement: &Settlement, largest: u64) -> oneshot::Receiver<Grant>;

    /// Closes a reservation, and spends its tokens.
    fn settle(&self, settlement: &Settlement);
}

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
    ledger: Arc<dyn ReservationLedger>,
    /// The tokens of the first slice.
    first_output: u64,
    /// The limits of the key with this reservation; none if the ledger is away and the key passes.
    limits: Vec<LimitStatus>,
    /// Carried out when the reservation is dropped.
    settlement: Settlement,
}

impl Reservation {
    /// Returns a reservation with a first slice of `first_output` tokens, which settles with `settlement` at its end.
    pub(super) fn new(
        ledger: Arc<dyn ReservationLedger>,
        first_output: u64,
        limits: Vec<LimitStatus>,
        settlement: Settlement,
    ) -> Self {
        Self {
            ledger,
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
            ledger: Arc::clone(&self.ledger),
            settlement: self.settlement.clone(),
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
        self.ledger.settle(&self.settlement);
    }
}

#[derive(Debug)]
struct SliceSource {
    ledger: Arc<dyn ReservationLedger>,
    /// Of the reservation, without the tokens that it spends.
    settlement: Settlement,
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
        let largest = self.next_largest();
        self.ledger.extend(&self.settlement, largest)
    }
}
