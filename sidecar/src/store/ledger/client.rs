//! The client of the ledger, for its handles and its reservations. An operation that the books of this process allow is carried
//! out at once; any other becomes a command to the writer.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::account::ReserveError;
use super::budget::Budget;
use super::command::Command;
use super::local::{Granted, LocalLedger};
use super::reservation::{Reservation, ReservationLedger, Settlement};
use crate::store::notes::{Note, NoteSink};
use crate::turn::Grant;

/// Longest wait for the writer. One that hangs on its disk must not hold a request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// A client of the ledger. Cheap to clone. The writer ends with the last one.
#[derive(Debug, Clone)]
pub(super) struct LedgerClient {
    commands: mpsc::Sender<Command>,
    /// `None` for a ledger in Redis, where each operation is a command.
    local: Option<Arc<LocalLedger>>,
}

impl LedgerClient {
    pub(super) fn new(commands: mpsc::Sender<Command>, local: Option<Arc<LocalLedger>>) -> Self {
        Self { commands, local }
    }

    /// Returns a client for notes.
    pub(super) fn for_notes(&self) -> NoteClient {
        NoteClient {
            commands: self.commands.downgrade(),
            local: self.local.clone(),
        }
    }

    /// Returns the ledger of this process; `None` for one in Redis.
    pub(super) fn local(&self) -> Option<&LocalLedger> {
        self.local.as_deref()
    }

    /// Reserves the input of a turn and a first slice of its output.
    ///
    /// # Errors
    /// A limit of the budget has too little left, or the ledger cannot be written.
    pub(super) async fn reserve(
        &self,
        client: Arc<str>,
        budget: Arc<Budget>,
        input: u64,
    ) -> Result<Reservation, ReserveError> {
        let local = self.local();
        if let Some(result) = local.and_then(|ledger| ledger.reserve(&client, &budget, input)) {
            return result.map(|granted| self.clone().reservation(granted, client, budget));
        }
        let (reply, answer) = oneshot::channel();
        let command = Command::Reserve {
            client,
            budget,
            input,
            reply,
        };
        let answer = self.ask(command, answer).await;
        answer.unwrap_or(Err(ReserveError::Unavailable))
    }

    /// Returns the reservation that the books have granted.
    pub(super) fn reservation(
        self,
        granted: Granted,
        client: Arc<str>,
        budget: Arc<Budget>,
    ) -> Reservation {
        let settlement = Settlement::of_nothing(granted.id, client, budget);
        Reservation::new(
            Arc::new(self),
            granted.first_output,
            granted.limits,
            settlement,
        )
    }

    /// Keeps a note.
    pub(super) fn note(&self, note: Note) {
        match self.local() {
            Some(ledger) => {
                if ledger.note(note) {
                    self.send(Command::Write);
                }
            }
            None => self.send(Command::Note(note)),
        }
    }

    /// Sends a command, or drops it where the writer hangs for so long that the channel is full.
    pub(super) fn send(&self, command: Command) {
        self.commands.try_send(command).ok();
    }

    /// Sends a command, and returns its answer; `None` if the writer does not answer.
    pub(super) async fn ask<T>(&self, command: Command, answer: oneshot::Receiver<T>) -> Option<T> {
        self.commands.try_send(command).ok()?;
        timeout(ANSWER_TIMEOUT, answer).await.ok()?.ok()
    }
}

impl ReservationLedger for LedgerClient {
    fn extend(&self, settlement: &Settlement, largest: u64) -> oneshot::Receiver<Grant> {
        let Settlement { id, budget, .. } = settlement;
        let (reply, answer) = oneshot::channel();
        let local = self.local();
        match local.and_then(|ledger| ledger.extend(*id, budget, largest)) {
            Some(grant) => {
                reply.send(grant).ok(); // The receiver is below.
            }
            None => self.send(Command::Extend {
                id: *id,
                client: Arc::clone(&settlement.client),
                budget: Arc::clone(budget),
                largest,
                reply,
            }),
        }
        answer
    }

    fn settle(&self, settlement: &Settlement) {
        match self.local() {
            Some(ledger) => {
                if ledger.settle(settlement) {
                    self.send(Command::Write);
                }
            }
            None => self.send(Command::Settle(settlement.clone())),
        }
    }
}

/// A client for notes, which does not keep the writer.
#[derive(Debug)]
pub(super) struct NoteClient {
    commands: mpsc::WeakSender<Command>,
    local: Option<Arc<LocalLedger>>,
}

impl NoteSink for NoteClient {
    fn note(&self, note: Note) {
        if let Some(commands) = self.commands.upgrade() {
            LedgerClient::new(commands, self.local.clone()).note(note);
        }
    }
}
