//! The ledger's file: SQLite with a write-ahead log.
//!
//! A committed change survives the death of the process. Two sidecars may have the file open while one hands over to the
//! other: each change is made in a transaction that first reads the changes of the other.

use std::collections::{HashMap, HashSet};
use std::path::Path;
use std::sync::Arc;

use rusqlite::{Connection, Error, params};

use super::books::{Accounts, SpentIn, account_of};
use super::state::Change;
use crate::process::{is_owner_running, orphans};
use crate::store::ledger::budget::{Budget, Tokens};
use crate::store::ledger::window::kept_buckets;
use crate::store::notes::{KnownNotes, NOTE_TABLES, read_notes, trim_notes, write_note};
use crate::store::sqlite;
use crate::turn::Period;

/// A row of `reservations` is the allocation of a process for a key. `period` is the seconds of a rolling window, 0 for a day
/// and -1 for a month; `bucket` is in milliseconds since the Unix epoch.
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

/// Removes the buckets that [`crate::store::ledger::account::Account::add`] drops too. Its parameters are the buckets that are kept of days,
/// months and rolling windows.
const REMOVE_OLD: &str = "
    DELETE FROM spent WHERE (client, period, bucket) IN (
        SELECT client, period, bucket FROM (
            SELECT client, period, bucket,
                row_number() OVER (PARTITION BY client, period ORDER BY bucket DESC) AS age
            FROM spent)
        WHERE age > CASE period WHEN 0 THEN ?1 WHEN -1 THEN ?2 ELSE ?3 END)";

/// Time between two removals of old buckets.
const TRIM_INTERVAL_MS: u64 = 3600 * 1000;

/// The file, and the version of its content that was read last.
#[derive(Debug)]
pub(in crate::store::ledger) struct LedgerFile {
    connection: Connection,
    /// The owner mark of this process.
    owner: String,
    /// The rows of this ledger's allocations. Another ledger of this process has the same owner mark.
    own_rows: HashSet<i64>,
    read_version: Option<i64>,
    /// Whether the open change has settled allocations of dead processes.
    has_adopted: bool,
    /// The time of the last removal of old buckets, in milliseconds since the Unix epoch.
    trimmed_at: u64,
    /// The owners of other allocations that were running when the file was read.
    other_owners: Vec<String>,
}

impl LedgerFile {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// The file cannot be created, or is not a ledger of this version.
    pub(in crate::store::ledger) fn open(path: &Path) -> Result<Self, Error> {
        let connection = sqlite::open(path, &[TABLES, NOTE_TABLES].concat())?;
        trim_notes(&connection)?;
        Ok(Self {
            connection,
            owner: orphans::owner(),
            own_rows: HashSet::new(),
            read_version: None,
            has_adopted: false,
            trimmed_at: 0,
            other_owners: Vec::new(),
        })
    }

    /// Returns the notes of earlier processes.
    ///
    /// # Errors
    /// The file cannot be read.
    pub(in crate::store::ledger) fn notes(&self) -> Result<KnownNotes, Error> {
        read_notes(&self.connection)
    }

    /// Begins a change. Returns the accounts of the file, with the allocations of other processes, if another process has
    /// changed it or ended since the last call.
    ///
    /// # Errors
    /// The file cannot be read, or another process writes for longer than the busy timeout.
    pub(super) fn begin(&mut self, now: u64) -> Result<Option<Accounts>, Error> {
        self.execute("BEGIN IMMEDIATE")?;
        let version = self.version()?;
        if self.read_version == Some(version) && self.are_others_running() {
            return Ok(None);
        }
        let accounts = self.read(now)?;
        self.read_version = Some(version);
        Ok(Some(accounts))
    }

    /// Writes the change, and ends it. With `proves`, a change without content is written too, which shows whether the
    /// file can be written.
    ///
    /// # Errors
    /// It cannot be written; no part of it is.
    pub(super) fn commit(&mut self, change: &Change, proves: bool, now: u64) -> Result<(), Error> {
        if proves {
            sqlite::touch(&self.connection)?;
        }
        for (spent_in, tokens) in &change.spent {
            self.add_spent(spent_in, *tokens)?;
        }
        for changed in &change.allocations {
            let row = changed.before.row;
            self.own_rows.insert(row);
            if changed.after == changed.before.tokens {
                continue;
            }
            match changed.after == Tokens::default() {
                true => self.remove_allocation(row)?,
                false => self.write_allocation(row, &changed.client, changed.after)?,
            }
        }
        for note in &change.notes {
            write_note(&self.connection, note)?;
        }
        if now.abs_diff(self.trimmed_at) >= TRIM_INTERVAL_MS {
            let kept = [Period::Day, Period::Month, Period::Rolling(0)]
                .map(|period| i64::try_from(kept_buckets(period)).unwrap_or(i64::MAX));
            self.connection.prepare_cached(REMOVE_OLD)?.execute(kept)?;
            self.trimmed_at = now;
        }
        self.execute("COMMIT")?;
        self.has_adopted = false;
        Ok(())
    }

    /// Whether another process has changed the file or ended since the last change, or the file cannot be read.
    pub(super) fn has_changed(&self) -> bool {
        self.version().ok() != self.read_version || !self.are_others_running()
    }

    fn are_others_running(&self) -> bool {
        let mut owners = self.other_owners.iter();
        owners.all(|owner| is_owner_running(owner))
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
        if std::mem::take(&mut self.has_adopted) {
            self.read_version = None; // The allocations of dead processes are open again.
        }
        self.connection.execute_batch("ROLLBACK").ok(); // Fails where SQLite has done so itself.
    }

    fn read(&mut self, now: u64) -> Result<Accounts, Error> {
        let mut accounts = Accounts::new();
        for (spent_in, tokens) in self.read_spent()? {
            let account = account_of(&mut accounts, &spent_in.client);
            account.add(spent_in.period, spent_in.bucket, tokens);
        }
        let mut owners: HashMap<String, bool> = HashMap::new();
        for allocation in self.read_allocations()? {
            let account = account_of(&mut accounts, &allocation.client);
            let is_alive = *owners
                .entry(allocation.owner)
                .or_insert_with_key(|owner| is_owner_running(owner));
            if is_alive {
                account.elsewhere = account.elsewhere.plus(allocation.tokens);
                continue;
            }
            for (period, bucket) in account.buckets(&Budget::unlimited(), now) {
                account.add(period, bucket, allocation.tokens);
                let spent_in = SpentIn {
                    client: Arc::clone(&allocation.client),
                    period,
                    bucket,
                };
                self.add_spent(&spent_in, allocation.tokens)?;
            }
            self.remove_allocation(allocation.row)?;
            self.has_adopted = true;
        }
        let running = owners.into_iter().filter(|(_, is_alive)| *is_alive);
        self.other_owners = running.map(|(owner, _)| owner).collect();
        Ok(accounts)
    }

    fn read_spent(&self) -> Result<Vec<(SpentIn, Tokens)>, Error> {
        let mut query = self
            .connection
            .prepare("SELECT client, period, bucket, input, output FROM spent")?;
        let rows = query.query_map([], |row| {
            let client: String = row.get(0)?;
            let spent_in = SpentIn {
                client: client.into(),
                period: period(row.get(1)?),
                bucket: unsigned(row.get(2)?),
            };
            let tokens = Tokens {
                input: unsigned(row.get(3)?),
                output: unsigned(row.get(4)?),
            };
            Ok((spent_in, tokens))
        })?;
        rows.collect()
    }

    /// Returns the allocations of other ledgers.
    fn read_allocations(&self) -> Result<Vec<AllocationRow>, Error> {
        let mut query = self
            .connection
            .prepare("SELECT id, owner, client, input, output FROM reservations")?;
        let rows = query.query_map([], |row| {
            let client: String = row.get(2)?;
            Ok(AllocationRow {
                row: row.get(0)?,
                owner: row.get(1)?,
                client: client.into(),
                tokens: Tokens {
                    input: unsigned(row.get(3)?),
                    output: unsigned(row.get(4)?),
                },
            })
        })?;
        let is_other = |row: &Result<AllocationRow, _>| !matches!(row, Ok(of) if self.own_rows.contains(&of.row));
        rows.filter(is_other).collect()
    }

    fn write_allocation(&self, row: i64, client: &str, tokens: Tokens) -> Result<(), Error> {
        let (input, output) = (signed(tokens.input), signed(tokens.output));
        self.connection
            .prepare_cached(
                "INSERT INTO reservations (id, owner, client, input, output) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (id) DO UPDATE SET input = ?4, output = ?5",
            )?
            .execute(params![row, self.owner, client, input, output])?;
        Ok(())
    }

    fn remove_allocation(&self, row: i64) -> Result<(), Error> {
        self.connection
            .prepare_cached("DELETE FROM reservations WHERE id = ?1")?
            .execute([row])?;
        Ok(())
    }

    fn add_spent(&self, spent_in: &SpentIn, tokens: Tokens) -> Result<(), Error> {
        let (input, output) = (signed(tokens.input), signed(tokens.output));
        self.connection
            .prepare_cached(
                "INSERT INTO spent (client, period, bucket, input, output) VALUES (?1, ?2, ?3, ?4, ?5)
                 ON CONFLICT (client, period, bucket) DO UPDATE SET input = input + ?4, output = output + ?5",
            )?
            .execute(params![
                spent_in.client.as_ref(),
                spent_in.period.number(),
                signed(spent_in.bucket),
                input,
                output
            ])?;
        Ok(())
    }
}

/// An allocation as the file has it.
struct AllocationRow {
    row: i64,
    owner: String,
    client: Arc<str>,
    tokens: Tokens,
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
