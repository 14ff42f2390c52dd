//! The ledger's file: SQLite with a write-ahead log.
//!
//! A committed change survives the death of the process. Two sidecars may have the file open while one hands over to the
//! other: each change is made in a transaction that first reads the changes of the other.

use std::collections::HashMap;
use std::path::Path;

use rusqlite::{Connection, Error, params};

use super::books::{Books, Row};
use super::budget::{Budget, Tokens};
use super::window::kept_buckets;
use crate::process::{is_owner_running, orphans};
use crate::store::notes::{KnownNotes, NOTE_TABLES, Note, read_notes, trim_notes, write_note};
use crate::store::sqlite;
use crate::turn::Period;

/// `period` is the seconds of a rolling window, 0 for a day and -1 for a month; `bucket` is in milliseconds since the Unix
/// epoch.
const TABLES: &str = "
    CREATE TABLE IF NOT EXISTS spent (
        client TEXT NOT NULL, period INTEGER NOT NULL, bucket INTEGER NOT NULL,
        input INTEGER NOT NULL, output INTEGER NOT NULL,
        PRIMARY KEY (client, period, bucket)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE IF NOT EXISTS reservations (
        id INTEGER PRIMARY KEY, owner TEXT NOT NULL, client TEXT NOT NULL,
        input INTEGER NOT NULL, output INTEGER NOT NULL
    ) STRICT;";

/// Removes the buckets that [`super::account::Account::add`] drops too. Its parameters are the buckets that are kept of days,
/// months and rolling windows.
const REMOVE_OLD: &str = "
    DELETE FROM spent WHERE (client, period, bucket) IN (
        SELECT client, period, bucket FROM (
            SELECT client, period, bucket,
                row_number() OVER (PARTITION BY client, period ORDER BY bucket DESC) AS age
            FROM spent)
        WHERE age > CASE period WHEN 0 THEN ?1 WHEN -1 THEN ?2 ELSE ?3 END)";

/// The file, and the version of its content that was read last.
#[derive(Debug)]
pub(super) struct LedgerFile {
    connection: Connection,
    /// The owner mark of this process.
    owner: String,
    read_version: Option<i64>,
}

impl LedgerFile {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// The file cannot be created, or is not a ledger of this version.
    pub(super) fn open(path: &Path) -> Result<Self, Error> {
        let connection = sqlite::open(path, &[TABLES, NOTE_TABLES].concat())?;
        trim_notes(&connection)?;
        let kept = [Period::Day, Period::Month, Period::Rolling(0)]
            .map(|period| i64::try_from(kept_buckets(period)).unwrap_or(i64::MAX));
        connection.execute(REMOVE_OLD, kept)?;
        Ok(Self {
            connection,
            owner: orphans::owner(),
            read_version: None,
        })
    }

    /// Returns the notes of earlier processes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(super) fn notes(&self) -> Result<KnownNotes, Error> {
        read_notes(&self.connection)
    }

    /// Begins a change. Returns the content of the file if another process has changed it since the last call.
    ///
    /// # Errors
    /// The file cannot be read, or another process writes for longer than the busy timeout.
    pub(super) fn begin(&mut self, now: u64) -> Result<Option<Books>, Error> {
        self.execute("BEGIN IMMEDIATE")?;
        let version = self.version()?;
        if self.read_version == Some(version) {
            return Ok(None);
        }
        let books = self.read(now)?;
        self.read_version = Some(version);
        Ok(Some(books))
    }

    /// Writes the rows and notes, and ends the change.
    ///
    /// # Errors
    /// The rows and notes cannot be written; none of them is.
    pub(super) fn commit<'a>(
        &mut self,
        rows: impl Iterator<Item = &'a Row>,
        notes: &[Note],
    ) -> Result<(), Error> {
        for row in rows {
            self.write(row)?;
        }
        for note in notes {
            write_note(&self.connection, note)?;
        }
        self.execute("COMMIT")
    }

    /// Whether another process has changed the file since the last change, or the file cannot be read.
    pub(super) fn has_changed(&self) -> bool {
        self.version().ok() != self.read_version
    }

    /// Returns the version of the content, which only other connections change.
    fn version(&self) -> Result<i64, Error> {
        let mut query = self.connection.prepare_cached("PRAGMA data_version")?;
        query.query_row([], |row| row.get(0))
    }

    fn execute(&self, statement: &str) -> Result<(), Error> {
        self.connection.prepare_cached(statement)?.execute([])?;
        Ok(())
    }

    /// Ends the change without a trace.
    pub(super) fn roll_back(&mut self) {
        // Read again: the rows of reservations that were adopted in this change are gone too.
        self.read_version = None;
        self.connection.execute_batch("ROLLBACK").ok(); // Fails where SQLite has done so itself.
    }

    fn read(&mut self, now: u64) -> Result<Books, Error> {
        let mut books = Books::default();
        for row in self.read_spent()? {
            books.apply(&row);
        }
        let mut owners: HashMap<String, bool> = HashMap::new();
        for (owner, row) in self.read_reservations()? {
            let is_alive = *owners
                .entry(owner)
                .or_insert_with_key(|owner| is_owner_running(owner));
            books.apply(&row);
            if let (false, Row::Reserve { id, client, tokens }) = (is_alive, &row) {
                let settled = books.settle(*id, client, &Budget::unlimited(), *tokens, now);
                for row in settled {
                    self.write(&row)?;
                    books.apply(&row);
                }
            }
        }
        Ok(books)
    }

    fn read_spent(&self) -> Result<Vec<Row>, Error> {
        let mut query = self
            .connection
            .prepare("SELECT client, period, bucket, input, output FROM spent")?;
        let rows = query.query_map([], |row| {
            let client: String = row.get(0)?;
            Ok(Row::Spend {
                client: client.into(),
                period: period(row.get(1)?),
                bucket: unsigned(row.get(2)?),
                tokens: Tokens {
                    input: unsigned(row.get(3)?),
                    output: unsigned(row.get(4)?),
                },
            })
        })?;
        rows.collect()
    }

    fn read_reservations(&self) -> Result<Vec<(String, Row)>, Error> {
        let mut query = self
            .connection
            .prepare("SELECT owner, id, client, input, output FROM reservations")?;
        let rows = query.query_map([], |row| {
            let client: String = row.get(2)?;
            let tokens = Tokens {
                input: unsigned(row.get(3)?),
                output: unsigned(row.get(4)?),
            };
            let reserve = Row::Reserve {
                id: row.get(1)?,
                client: client.into(),
                tokens,
            };
            Ok((row.get(0)?, reserve))
        })?;
        rows.collect()
    }

    fn write(&self, row: &Row) -> Result<(), Error> {
        match row {
            Row::Reserve { id, client, tokens } => self
                .connection
                .prepare_cached(
                    "INSERT INTO reservations (id, owner, client, input, output) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (id) DO UPDATE SET input = ?4, output = ?5",
                )?
                .execute(params![
                    id,
                    self.owner,
                    client.as_ref(),
                    signed(tokens.input),
                    signed(tokens.output)
                ]),
            Row::Close { id } => self
                .connection
                .prepare_cached("DELETE FROM reservations WHERE id = ?1")?
                .execute([id]),
            Row::Spend {
                client,
                period,
                bucket,
                tokens,
            } => self
                .connection
                .prepare_cached(
                    "INSERT INTO spent (client, period, bucket, input, output) VALUES (?1, ?2, ?3, ?4, ?5)
                     ON CONFLICT (client, period, bucket) DO UPDATE SET input = input + ?4, output = output + ?5",
                )?
                .execute(params![
                    client.as_ref(),
                    period.number(),
                    signed(*bucket),
                    signed(tokens.input),
                    signed(tokens.output)
                ]),
        }?;
        Ok(())
    }
}

fn period(number: i64) -> Period {
    match u32::try_from(number) {
        Ok(0) => Period::Day,
        Ok(seconds) => Period::Rolling(seconds),
        Err(_) => Period::Month,
    }
}

/// SQLite has signed integers only; sums beyond them count as the largest.
fn signed(number: u64) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

fn unsigned(number: i64) -> u64 {
    u64::try_from(number).unwrap_or(0)
}
