//! The writer of the ledger: carries out commands in their order, and writes each grant before it answers.
//! Commands that wait together share one transaction. Settlements and notes wait for the next one, for [`WRITE_DELAY`] at
//! most: until then the file has the reservation, which counts as spent after a crash.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Handle};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};

use super::account::ReserveError;
use super::books::{Books, Row};
use super::budget::{Budget, Tokens};
use super::clock::Clock;
use super::command::{Budgets, Command, Reservation, Settlement};
use super::ratios::TokenRatios;
use super::redis::RedisWriter;
use super::sqlite::LedgerFile;
use crate::store::notes::{KnownNotes, Note};
use crate::store::redis::{RedisKeeper, RedisLink};
use crate::store::state::StatePlace;
use crate::turn::Grant;

/// The most commands in one transaction, so that the first of them does not wait for long.
const MAX_BATCH: usize = 256;

/// Longest time until a settlement or a note is written to the file.
const WRITE_DELAY: Duration = Duration::from_millis(200);

/// Time until settlements that could not be written are tried again, unless a command tries earlier.
const RETRY_DELAY: Duration = Duration::from_secs(1);

/// The ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LedgerOpenError {
    /// The file cannot be opened.
    #[error(transparent)]
    File(#[from] rusqlite::Error),
    /// A connection to Redis needs a runtime.
    #[error(transparent)]
    Runtime(#[from] tokio::runtime::TryCurrentError),
    /// The process needs a name in Redis.
    #[error("no random source: {0}")]
    Random(#[from] getrandom::Error),
}

/// The writer. Run it on a thread of its own.
#[derive(Debug)]
pub struct LedgerWriter(Writer);

#[derive(Debug)]
enum Writer {
    Local(Box<LocalWriter>),
    Redis(Box<RedisWriter>),
}

impl LedgerWriter {
    pub(super) fn open(
        place: &StatePlace,
        clock: Clock,
        (received, commands): (mpsc::Receiver<Command>, mpsc::WeakSender<Command>),
        ratios: TokenRatios,
    ) -> Result<(Self, KnownNotes), LedgerOpenError> {
        let file = match place {
            StatePlace::Memory => None,
            StatePlace::File(path) => Some(LedgerFile::open(path)?),
            StatePlace::Redis(address, unavailable) => {
                let owner = format!("{:016x}", getrandom::u64()?);
                let link = RedisKeeper::new(address, owner.into());
                let runtime = Handle::try_current()?;
                let writer =
                    RedisWriter::new(runtime, link, clock, *unavailable, received, commands)
                        .with_ratios(ratios);
                let writer = Self(Writer::Redis(Box::new(writer)));
                return Ok((writer, KnownNotes::default()));
            }
        };
        let known = file.as_ref().map(LedgerFile::notes).transpose()?;
        let writer = LocalWriter::open(file, clock, received, commands)?;
        let writer = Self(Writer::Local(Box::new(writer)));
        Ok((writer, known.unwrap_or_default()))
    }

    pub(super) fn link(&self) -> Option<&RedisLink> {
        match &self.0 {
            Writer::Local(_) => None,
            Writer::Redis(writer) => Some(writer.link()),
        }
    }

    /// Carries out commands until the last handle is dropped.
    pub fn run(self) {
        match self.0 {
            Writer::Local(writer) => writer.run(),
            Writer::Redis(writer) => writer.run(),
        }
    }
}

/// The writer of a ledger in memory or in a file.
#[derive(Debug)]
struct LocalWriter {
    books: Books,
    /// `None` keeps the ledger in memory.
    file: Option<LedgerFile>,
    clock: Clock,
    received: mpsc::Receiver<Command>,
    /// For the reservations. Weak, so that the writer ends with the last handle.
    commands: mpsc::WeakSender<Command>,
    budgets: Budgets,
    /// Rows of settlements that are not written yet. The books have them.
    unwritten: Vec<Row>,
    /// Notes that are not written yet.
    notes: Vec<Note>,
    /// The time at which the rows and notes are written, unless a command needs a transaction earlier.
    write_at: Option<Instant>,
}

/// A command that is carried out, and not yet answered.
enum Answer {
    /// The reply, and the row that undoes the change if it cannot be written.
    Pending(Box<dyn FnOnce(bool) + Send>, Option<Row>),
    None,
}

impl LocalWriter {
    fn open(
        file: Option<LedgerFile>,
        clock: Clock,
        received: mpsc::Receiver<Command>,
        commands: mpsc::WeakSender<Command>,
    ) -> Result<Self, rusqlite::Error> {
        let mut writer = Self {
            books: Books::default(),
            file,
            clock,
            received,
            commands,
            budgets: Budgets::new(),
            unwritten: Vec::new(),
            notes: Vec::new(),
            write_at: None,
        };
        // Now rather than at the first request, so that a file which cannot be read is known at the start.
        writer.begin()?;
        writer.commit(&[])?;
        Ok(writer)
    }

    fn run(mut self) {
        match Builder::new_current_thread().enable_time().build() {
            Ok(runtime) => runtime.block_on(self.carry_out_all()),
            Err(error) => {
                tracing::error!(%error, "the ledger has no timer, keys with a budget get 503")
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
        self.carry_out(Vec::new());
    }

    /// Carries out the commands. Without any, writes what waits.
    fn carry_out(&mut self, batch: Vec<Command>) {
        let writes = self.must_write(&batch);
        let begun = if writes { self.begin() } else { Ok(()) };
        let mut rows = Vec::new();
        let answers: Vec<_> = batch
            .into_iter()
            .map(|command| self.execute(command, &mut rows))
            .collect();
        let written = if writes {
            begun.and_then(|()| self.commit(&rows))
        } else {
            self.unwritten.append(&mut rows);
            Ok(())
        };
        if let Err(error) = &written {
            tracing::error!(%error, "ledger write failed");
            self.roll_back(rows);
        }
        self.set_timer(written.is_ok());
        for answer in answers {
            if let Answer::Pending(reply, undo) = answer {
                if let (Err(_), Some(undo)) = (&written, undo) {
                    self.undo(&undo);
                }
                reply(written.is_ok());
            }
        }
    }

    /// Whether the commands need a transaction now. Another process may have changed the file only while it hands over.
    fn must_write(&self, batch: &[Command]) -> bool {
        let Some(file) = &self.file else {
            return true; // Memory, where a transaction costs nothing.
        };
        batch.is_empty() || batch.iter().any(Command::needs_write) || file.has_changed()
    }

    fn set_timer(&mut self, is_written: bool) {
        let delay = if is_written { WRITE_DELAY } else { RETRY_DELAY };
        if self.unwritten.is_empty() && self.notes.is_empty() {
            self.write_at = None;
        } else if !is_written || self.write_at.is_none() {
            self.write_at = Some(Instant::now() + delay);
        }
    }

    fn begin(&mut self) -> Result<(), rusqlite::Error> {
        let Some(file) = &mut self.file else {
            return Ok(());
        };
        if let Some(books) = file.begin(self.clock.now_ms())? {
            self.books = books;
            for row in &self.unwritten {
                self.books.apply(row);
            }
        }
        Ok(())
    }

    fn commit(&mut self, rows: &[Row]) -> Result<(), rusqlite::Error> {
        if let Some(file) = &mut self.file {
            file.commit(self.unwritten.iter().chain(rows), &self.notes)?;
        }
        self.unwritten.clear();
        self.notes.clear();
        Ok(())
    }

    /// Keeps the settlements of a change that could not be written, for the next one.
    fn roll_back(&mut self, rows: Vec<Row>) {
        self.notes.clear(); // Later turns teach the same, and a disk may stay full for long.
        if let Some(file) = &mut self.file {
            file.roll_back();
        }
        let settled = rows
            .into_iter()
            .filter(|row| !matches!(row, Row::Reserve { .. }));
        self.unwritten.extend(settled);
    }

    /// Takes a grant back. A reservation that was settled meanwhile stays closed.
    fn undo(&mut self, row: &Row) {
        if let Row::Reserve { id, .. } = row
            && self.books.reservation(*id).is_none()
        {
            return;
        }
        self.books.apply(row);
    }

    /// Changes the books, and adds the rows of the change.
    fn execute(&mut self, command: Command, rows: &mut Vec<Row>) -> Answer {
        let now = self.clock.now_ms();
        command.note_budget(&mut self.budgets);
        match command {
            Command::Reserve {
                client,
                budget,
                input,
                reply,
            } => {
                let begun = self.books.account(&client).begin(&budget, input, now);
                let reserved =
                    begun.and_then(|tokens| self.reserve(client, budget, tokens, now, rows));
                let undo = reserved.as_ref().ok().map(|reservation| Row::Close {
                    id: reservation.id(),
                });
                let reply = move |is_written| {
                    let result = match reserved {
                        Ok(reservation) if is_written => Ok(reservation),
                        Ok(_) => Err(ReserveError::Unavailable),
                        Err(error) => Err(error),
                    };
                    reply.send(result).ok(); // A client that has left drops the reservation.
                };
                Answer::Pending(Box::new(reply), undo)
            }
            Command::Extend {
                id,
                budget,
                largest,
                reply,
                client: _,
            } => {
                let undo = self.books.undo(id);
                let grant = self.extend(id, &budget, largest, now, rows);
                let reply = move |is_written| {
                    let grant = if is_written {
                        grant
                    } else {
                        Grant::Unavailable
                    };
                    reply.send(grant).ok(); // The turn has ended meanwhile.
                };
                Answer::Pending(Box::new(reply), Some(undo))
            }
            Command::Settle(Settlement {
                id,
                client,
                budget,
                mut tokens,
                is_used_up,
            }) => {
                if let (true, Some(open)) = (is_used_up, self.books.reservation(id)) {
                    tokens.output = tokens.output.max(open.tokens.output);
                }
                for row in self.books.settle(id, &client, &budget, tokens, now) {
                    self.change(row, rows);
                }
                Answer::None
            }
            Command::Status {
                client,
                budget,
                reply,
            } => {
                let status = self.books.account(&client).status(&budget, now);
                reply.send(status).ok(); // The request has ended meanwhile.
                Answer::None
            }
            Command::Note(note) => {
                self.notes.retain(|earlier| !note.replaces(earlier));
                self.notes.push(note);
                Answer::None
            }
            // The usage log has it.
            Command::CountUsage(_) | Command::Usage { .. } => Answer::None,
            Command::StatusOfAll { reply } => {
                let status = |(client, budget): (&Arc<str>, &Arc<Budget>)| {
                    let status = self.books.account(client).status(budget, now);
                    (Arc::clone(client), status)
                };
                let all = self.budgets.iter().map(status).collect();
                reply.send(all).ok(); // As above.
                Answer::None
            }
        }
    }

    fn reserve(
        &mut self,
        client: Arc<str>,
        budget: Arc<Budget>,
        tokens: Tokens,
        now: u64,
        rows: &mut Vec<Row>,
    ) -> Result<Reservation, ReserveError> {
        let commands = self.commands.upgrade().ok_or(ReserveError::Unavailable)?;
        let random = getrandom::u64().map_err(|_| ReserveError::Unavailable)?;
        let id = random.cast_signed();
        let row = Row::Reserve {
            id,
            client: Arc::clone(&client),
            tokens,
        };
        self.change(row, rows);
        let limits = self.books.account(&client).status(&budget, now);
        let settlement = Settlement::of_nothing(id, client, budget);
        Ok(Reservation::new(
            commands,
            tokens.output,
            limits,
            settlement,
        ))
    }

    fn extend(
        &mut self,
        id: i64,
        budget: &Budget,
        largest: u64,
        now: u64,
        rows: &mut Vec<Row>,
    ) -> Grant {
        // Absent after its settlement: the turn has ended.
        let Some(open) = self.books.reservation(id).cloned() else {
            return Grant::Unavailable;
        };
        let grant = self
            .books
            .account(&open.client)
            .extend(budget, now, largest);
        if let Grant::Tokens(output) = grant {
            let more = Tokens { input: 0, output };
            let row = Row::Reserve {
                id,
                client: open.client,
                tokens: open.tokens.plus(more),
            };
            self.change(row, rows);
        }
        grant
    }

    fn change(&mut self, row: Row, rows: &mut Vec<Row>) {
        self.books.apply(&row);
        rows.push(row);
    }
}
