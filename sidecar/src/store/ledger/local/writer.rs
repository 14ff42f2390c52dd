//! The writer: makes allocations larger for turns that do not fit, and writes settlements and notes.
//! Commands that wait together share one transaction.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Builder;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, timeout_at};

use super::file::LedgerFile;
use super::ledger::LocalLedger;
use super::state::{Change, LocalState};
use crate::store::ledger::account::ReserveError;
use crate::store::ledger::budget::Budget;
use crate::store::ledger::client::LedgerClient;
use crate::store::ledger::command::Command;
use crate::store::ledger::reservation::Reservation;
use crate::turn::Grant;

/// The most commands in one transaction, so that the first of them does not wait for long.
const MAX_BATCH: usize = 256;

/// Longest time until a settlement or a note is written to the file. Until then the file has the allocation that covers it.
pub(super) const WRITE_DELAY: Duration = Duration::from_millis(200);

/// Time until a write that has failed is tried again, unless a command tries earlier.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// Attempts to write at exit, while another process may hold the file.
const LAST_ATTEMPTS: usize = 3;

/// The writer of a ledger in memory or in a file.
#[derive(Debug)]
pub(in crate::store::ledger) struct LocalWriter {
    ledger: Arc<LocalLedger>,
    /// `None` keeps the ledger in memory.
    file: Option<LedgerFile>,
    received: mpsc::Receiver<Command>,
    /// For the reservations. Weak, so that the writer ends with the last handle.
    commands: mpsc::WeakSender<Command>,
    /// The time of the next write, unless a command needs a transaction earlier.
    write_at: Option<Instant>,
}

/// A command that is carried out, and not yet answered.
enum Answer {
    Reserve {
        /// Dropped after the lock of the books is released, since its drop takes that lock.
        reservation: Reservation,
        reply: oneshot::Sender<Result<Reservation, ReserveError>>,
    },
    Extend {
        id: i64,
        grant: Grant,
        reply: oneshot::Sender<Grant>,
    },
}

impl LocalWriter {
    pub(in crate::store::ledger) fn open(
        ledger: Arc<LocalLedger>,
        file: Option<LedgerFile>,
        received: mpsc::Receiver<Command>,
        commands: mpsc::WeakSender<Command>,
    ) -> Result<Self, rusqlite::Error> {
        let mut writer = Self {
            ledger,
            file,
            received,
            commands,
            write_at: None,
        };
        // Now rather than at the first request, so that a file which cannot be read is known at the start.
        writer.begin()?;
        writer.commit(&Change::default(), false)?;
        Ok(writer)
    }

    pub(in crate::store::ledger) fn ledger(&self) -> &Arc<LocalLedger> {
        &self.ledger
    }

    /// Carries out commands until the last handle is dropped.
    pub(in crate::store::ledger) fn run(mut self) {
        match Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime.block_on(self.carry_out_all()),
            Err(error) => {
                tracing::error!(%error, "the ledger has no timer, its file is not written")
            }
        }
    }

    async fn carry_out_all(&mut self) {
        loop {
            let first = match self.write_at {
                None => self.received.recv().await,
                Some(at) => match timeout_at(at, self.received.recv()).await {
                    Ok(first) => first,
                    Err(_) => {
                        self.carry_out(Vec::new());
                        continue;
                    }
                },
            };
            let Some(first) = first else { break };
            let mut batch = vec![first];
            while batch.len() < MAX_BATCH
                && let Ok(next) = self.received.try_recv()
            {
                batch.push(next);
            }
            self.carry_out(batch);
        }
        for _ in 0..LAST_ATTEMPTS {
            if self.carry_out(Vec::new()) {
                break;
            }
        }
    }

    /// Carries out the commands. Without any, writes the settlements and notes that wait. Returns whether no write has failed.
    fn carry_out(&mut self, batch: Vec<Command>) -> bool {
        let writes = self.must_write(&batch);
        let begun = if writes { self.begin() } else { Ok(()) };
        let is_fresh = begun.is_ok();
        let now = self.ledger.now_ms();
        let (mut answers, mut change) = (Vec::new(), None);
        {
            let ledger = Arc::clone(&self.ledger);
            let mut state = ledger.lock();
            for command in batch {
                answers.extend(self.execute(command, &mut state, now, is_fresh));
            }
            if writes {
                change = Some(state.take_change(now));
            }
        }
        let is_written = change.is_none_or(|change| self.end(begun, change));
        for answer in answers {
            self.reply(answer, is_written);
        }
        is_written
    }

    /// Whether the commands need a transaction now. Another process may have changed the file only while it hands over.
    fn must_write(&self, batch: &[Command]) -> bool {
        let Some(file) = &self.file else {
            return false;
        };
        batch.is_empty() || batch.iter().any(Command::needs_write) || file.has_changed()
    }

    fn begin(&mut self) -> Result<(), rusqlite::Error> {
        if let Some(file) = &mut self.file
            && let Some(accounts) = file.begin(self.ledger.now_ms())?
        {
            self.ledger.lock().replace_accounts(accounts);
        }
        Ok(())
    }

    /// Writes the change of a transaction, and returns whether it is written.
    fn end(&mut self, begun: Result<(), rusqlite::Error>, change: Change) -> bool {
        let was_writable = self.ledger.is_writable();
        // SQLite does not look at the disk for a change without content.
        let proves = !was_writable && change.is_empty();
        let written = begun.and_then(|()| self.commit(&change, proves));
        if let Err(error) = &written {
            // Once for each time that the file cannot be written.
            if was_writable {
                tracing::error!(%error, "ledger write failed");
            }
            if let Some(file) = &mut self.file {
                file.roll_back();
            }
        } else if !was_writable {
            tracing::info!("ledger written again");
        }
        let mut state = self.ledger.lock();
        match &written {
            Ok(()) => state.finish(&change),
            Err(_) => state.put_back(change),
        }
        self.write_at = written.is_err().then(|| Instant::now() + RETRY_DELAY);
        self.ledger.set_writable(written.is_ok());
        written.is_ok()
    }

    fn commit(&mut self, change: &Change, proves: bool) -> Result<(), rusqlite::Error> {
        let now = self.ledger.now_ms();
        self.file
            .as_mut()
            .map_or(Ok(()), |file| file.commit(change, proves, now))
    }

    /// Changes the books, and returns the answer that waits for the end of the transaction. Without a fresh view of the file
    /// nothing is refused as spent, since another process may have settled.
    fn execute(
        &mut self,
        command: Command,
        state: &mut LocalState,
        now: u64,
        is_fresh: bool,
    ) -> Option<Answer> {
        command.note_budget(&mut state.budgets);
        match command {
            Command::Reserve {
                client,
                budget,
                input,
                reply,
            } => match self.reserve(client, budget, input, state, now) {
                Ok(reservation) => Some(Answer::Reserve { reservation, reply }),
                Err(error) => {
                    let error = match is_fresh {
                        true => error,
                        false => ReserveError::Unavailable,
                    };
                    reply.send(Err(error)).ok(); // The client has left.
                    None
                }
            },
            Command::Extend {
                id,
                budget,
                largest,
                reply,
                client: _,
            } => {
                let grant = match extend(id, &budget, largest, state, now) {
                    Grant::Spent(_) if !is_fresh => Grant::Unavailable,
                    grant => grant,
                };
                Some(Answer::Extend { id, grant, reply })
            }
            Command::Write => {
                self.write_at
                    .get_or_insert_with(|| Instant::now() + WRITE_DELAY);
                None
            }
            Command::Status {
                client,
                budget,
                reply,
            } => {
                let status = state.books.account(&client).status(&budget, now);
                reply.send(status).ok(); // The request has ended meanwhile.
                None
            }
            Command::StatusOfAll { reply } => {
                let LocalState { books, budgets, .. } = state;
                let status = |(client, budget): (&Arc<str>, &Arc<Budget>)| {
                    let status = books.account(client).status(budget, now);
                    (Arc::clone(client), status)
                };
                reply.send(budgets.iter().map(status).collect()).ok(); // As above.
                None
            }
            // The books have the first two. The usage log has the others.
            Command::Settle(_)
            | Command::Note(_)
            | Command::CountUsage(_)
            | Command::Usage { .. } => None,
        }
    }

    fn reserve(
        &self,
        client: Arc<str>,
        budget: Arc<Budget>,
        input: u64,
        state: &mut LocalState,
        now: u64,
    ) -> Result<Reservation, ReserveError> {
        let (tokens, limits) = state.books.account(&client).begin(&budget, input, now)?;
        let commands = self.commands.upgrade().ok_or(ReserveError::Unavailable)?;
        let granted = state.enter(&client, &budget, tokens, limits);
        state.touch(&client);
        let ledger = LedgerClient::new(commands, Some(Arc::clone(&self.ledger)));
        Ok(ledger.reservation(granted, client, budget))
    }

    /// Answers a command. A grant that is not in the file is taken back.
    fn reply(&self, answer: Answer, is_written: bool) {
        match answer {
            Answer::Reserve { reservation, reply } => {
                // A reservation that is dropped closes itself: here, and where the request has ended meanwhile.
                let result = is_written.then_some(reservation);
                reply.send(result.ok_or(ReserveError::Unavailable)).ok();
            }
            Answer::Extend { id, grant, reply } => {
                let grant = match grant {
                    Grant::Tokens(output) if !is_written => {
                        self.ledger.lock().books.shrink(id, output);
                        Grant::Unavailable
                    }
                    grant => grant,
                };
                reply.send(grant).ok(); // The turn has ended meanwhile.
            }
        }
    }
}

fn extend(id: i64, budget: &Budget, largest: u64, state: &mut LocalState, now: u64) -> Grant {
    // Absent after its settlement: the turn has ended.
    let Some((client, grant)) = state.next_slice(id, budget, largest, now) else {
        return Grant::Unavailable;
    };
    if let Grant::Tokens(output) = grant {
        state.books.extend(id, output);
        state.touch(&client);
    }
    grant
}
