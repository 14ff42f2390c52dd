//! The handle of the ledger.

use std::sync::Arc;

use tokio::sync::{mpsc, oneshot};

use super::account::{LimitStatus, ReserveError};
use super::budget::Budget;
use super::client::LedgerClient;
use super::clock::Clock;
use super::command::Command;
use super::local::LocalLedger;
use super::ratios::TokenRatios;
use super::reservation::Reservation;
use super::writer::{LedgerOpenError, LedgerWriter};
use crate::store::notes::{RedisNotes, SessionIds};
use crate::store::redis::RedisLink;
use crate::store::state::StatePlace;
use crate::store::usage::{UsageCount, UsageHour};
use crate::turn::Usage;

/// Commands that wait for the writer. A turn has at most three under way, so that only a writer which hangs fills the
/// channel. A settlement in Redis that finds it full leaves its reservation open, which then counts as spent.
const WAITING_COMMANDS: usize = 1 << 16;

/// The shared usage cannot be read.
#[derive(Debug, Clone, Copy, thiserror::Error)]
#[error("the shared usage does not answer")]
pub struct UsageError;

/// A handle to the ledger. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Ledger {
    client: LedgerClient,
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
        let client = LedgerClient::new(commands, writer.local().map(Arc::clone));
        let keeps_notes = !matches!(place, StatePlace::Memory);
        let sessions = if keeps_notes {
            let shared = link.clone().map(RedisNotes::new);
            SessionIds::new(known.sessions, client.for_notes(), shared)
        } else {
            SessionIds::default()
        };
        let ledger = Self {
            client,
            ratios,
            keeps_notes,
            link,
        };
        Ok((ledger, writer, sessions))
    }

    pub(in crate::store) fn link(&self) -> Option<&RedisLink> {
        self.link.as_ref()
    }

    /// Whether Redis answers; for a file, whether its last write has succeeded.
    pub fn is_reachable(&self) -> bool {
        let is_up = self.link.as_ref().is_none_or(RedisLink::is_up);
        is_up && self.client.local().is_none_or(LocalLedger::is_writable)
    }

    /// Returns the characters per token of each model.
    pub fn ratios(&self) -> &TokenRatios {
        &self.ratios
    }

    /// Learns the characters per token of `model` from a turn with `chars` characters of visible output.
    pub fn learn(&self, model: &str, chars: usize, usage: &Usage) {
        let learned = self.ratios.learn(model, chars, usage);
        if let Some(note) = learned.filter(|_| self.keeps_notes) {
            self.client.note(note);
        }
    }

    /// Reserves the input of a turn and a first slice of its output. The file or Redis has the tokens before it returns.
    ///
    /// # Errors
    /// A limit of the budget has too little left, or the ledger cannot be written.
    pub async fn reserve(
        &self,
        client: &str,
        budget: Budget,
        input: u64,
    ) -> Result<Reservation, ReserveError> {
        let (client, budget) = (client.into(), Arc::new(budget));
        self.client.reserve(client, budget, input).await
    }

    /// Returns the state of a key's limits; `None` if the writer does not answer.
    pub async fn status(&self, client: &str, budget: Budget) -> Option<Vec<LimitStatus>> {
        let (reply, answer) = oneshot::channel();
        let command = Command::Status {
            client: client.into(),
            budget: Arc::new(budget),
            reply,
        };
        self.client.ask(command, answer).await
    }

    /// Returns the state of a key's limits without reading the file, which another sidecar may have changed while it hands
    /// over. In Redis as [`Self::status`].
    pub async fn recent_status(&self, client: &str, budget: Budget) -> Option<Vec<LimitStatus>> {
        match self.client.local() {
            Some(ledger) => Some(ledger.status(client, &budget)),
            None => self.status(client, budget).await,
        }
    }

    /// Returns the limits of every key that has sent a request since the start; none if the writer does not answer.
    pub async fn status_of_all(&self) -> Vec<(Arc<str>, Vec<LimitStatus>)> {
        let (reply, answer) = oneshot::channel();
        let answer = self
            .client
            .ask(Command::StatusOfAll { reply }, answer)
            .await;
        answer.unwrap_or_default()
    }

    /// Adds a turn to the usage that the sidecars of a fleet share; nothing without one.
    pub fn count_usage(&self, count: UsageCount) {
        if self.link.is_some() {
            self.client.send(Command::CountUsage(count));
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
        let answer = self
            .client
            .ask(Command::Usage { client, reply }, answer)
            .await;
        Some(answer.ok_or(UsageError))
    }
}
