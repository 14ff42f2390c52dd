//! The handle of the ledger: operations become commands, which one writer carries out in their order.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::account::{LimitStatus, ReserveError};
use super::budget::Budget;
use super::clock::Clock;
use super::command::{Command, Reservation};
use super::ratios::TokenRatios;
use super::writer::{LedgerOpenError, LedgerWriter};
use crate::store::notes::{RedisNotes, SessionIds};
use crate::store::redis::RedisLink;
use crate::store::state::StatePlace;
use crate::store::usage::{UsageCount, UsageHour};
use crate::turn::Usage;

/// Longest wait for the writer. One that hangs on its disk must not hold a request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Commands that wait for the writer. A turn has at most three under way, so that only a writer which hangs fills the
/// channel; a settlement that finds it full leaves its reservation open, which counts as spent after the next start.
const WAITING_COMMANDS: usize = 1 << 16;

/// The shared usage cannot be read.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the shared usage does not answer")]
pub struct UsageError;

/// A handle to the ledger. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger {
    commands: mpsc::Sender<Command>,
    ratios: TokenRatios,
    /// Whether notes outlive the process.
    keeps_notes: bool,
    /// The connection to Redis, if the ledger is there.
    link: Option<RedisLink>,
}

impl Ledger {
    /// Opens the ledger. Run the writer on its own thread.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(place: &StatePlace, clock: Clock) -> Result<(Self, LedgerWriter), LedgerOpenError> {
        let (ledger, writer, _) = Self::open_with_notes(place, clock)?;
        Ok((ledger, writer))
    }

    /// Opens the ledger as [`Self::open`], with the session ids of conversations, of which a sidecar has one list.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open_with_notes(
        place: &StatePlace,
        clock: Clock,
    ) -> Result<(Self, LedgerWriter, SessionIds), LedgerOpenError> {
        let (commands, received) = mpsc::channel(WAITING_COMMANDS);
        let ratios = TokenRatios::default();
        let channel = (received, commands.downgrade());
        let (writer, known) = LedgerWriter::open(place, clock, channel, ratios.clone())?;
        ratios.restore(known.ratios);
        let link = writer.link().cloned();
        let keeps_notes = !matches!(place, StatePlace::Memory);
        let sessions = if keeps_notes {
            let shared = link.clone().map(RedisNotes::new);
            SessionIds::new(known.sessions, commands.downgrade(), shared)
        } else {
            SessionIds::default()
        };
        let ledger = Self {
            commands,
            ratios,
            keeps_notes,
            link,
        };
        Ok((ledger, writer, sessions))
    }

    pub(in crate::store) fn link(&self) -> Option<&RedisLink> {
        self.link.as_ref()
    }

    /// Whether the ledger's place was reachable at the last look. A file is, once the sidecar has started.
    pub fn is_reachable(&self) -> bool {
        self.link.as_ref().is_none_or(RedisLink::is_up)
    }

    /// Returns the characters per token of each model.
    pub fn ratios(&self) -> &TokenRatios {
        &self.ratios
    }

    /// Learns the characters per token of `model` from a turn with `chars` characters of visible output.
    pub fn learn(&self, model: &str, chars: usize, usage: &Usage) {
        let learned = self.ratios.learn(model, chars, usage);
        if let Some(note) = learned.filter(|_| self.keeps_notes) {
            self.commands.try_send(Command::Note(note)).ok(); // The writer hangs.
        }
    }

    /// Reserves the input of a turn and a first slice of its output. The reservation is written before it is returned.
    ///
    /// # Errors
    /// A limit of the budget has too little left, or the ledger cannot be written.
    pub async fn reserve(
        &self,
        client: &str,
        budget: Budget,
        input: u64,
    ) -> Result<Reservation, ReserveError> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Reserve {
            client: client.into(),
            budget: Arc::new(budget),
            input,
            reply,
        };
        let answer = self.ask(command, answer).await;
        answer.unwrap_or(Err(ReserveError::Unavailable))
    }

    /// Returns the state of a key's limits; `None` if the writer does not answer.
    pub async fn status(&self, client: &str, budget: Budget) -> Option<Vec<LimitStatus>> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Status {
            client: client.into(),
            budget: Arc::new(budget),
            reply,
        };
        self.ask(command, answer).await
    }

    /// Returns the limits of every key that has sent a request since the start; none if the writer does not answer.
    pub async fn status_of_all(&self) -> Vec<(Arc<str>, Vec<LimitStatus>)> {
        let (reply, answer) = oneshot::channel();
        let answer = self.ask(Command::StatusOfAll { reply }, answer).await;
        answer.unwrap_or_default()
    }

    /// Adds a turn to the usage that the sidecars of a fleet share; nothing without one.
    pub fn count_usage(&self, count: UsageCount) {
        if self.link.is_some() {
            self.commands.try_send(Command::CountUsage(count)).ok(); // Redis is away for long.
        }
    }

    /// Returns the usage that the sidecars of a fleet share, of one client or of all; `None` without a fleet.
    ///
    /// # Errors
    /// Redis does not answer.
    pub async fn usage(&self, client: Option<&str>) -> Option<Result<Vec<UsageHour>, UsageError>> {
        self.link.as_ref()?;
        let (reply, answer) = oneshot::channel();
        let client = client.map(Into::into);
        let answer = self.ask(Command::Usage { client, reply }, answer).await;
        Some(answer.ok_or(UsageError))
    }

    async fn ask<T>(&self, command: Command, answer: oneshot::Receiver<T>) -> Option<T> {
        self.commands.try_send(command).ok()?;
        timeout(ANSWER_TIMEOUT, answer).await.ok()?.ok()
    }
}
