//! The archive in a file of SQLite, which outlives a sidecar. The rules are those of `responses.rs`: each client sees its own;
//! beyond the limits, the client that keeps most loses its least recently used ones; a conversation keeps the items of
//! responses that were deleted or evicted before it.

use std::num::NonZeroUsize;
use std::path::Path;

use bytes::Bytes;
use rusqlite::{Connection, Error, OptionalExtension, Transaction, TransactionBehavior, params};

use super::record::{Archived, ArchivedNode, ArchivedResponse, NewResponse};
use crate::process::{is_owner_running, orphans};
use crate::store::ledger::Clock;
use crate::store::limits::StoreLimits;
use crate::store::sqlite;

/// Bytes that a response counts in addition to its content.
const OVERHEAD_BYTES: usize = 512;

/// `document` is NULL once the response is deleted; its items stay as long as a conversation continues from them. `running` has
/// the responses in progress. Times are milliseconds since the Unix epoch.
const TABLES: &str = "
    PRAGMA secure_delete = ON;
    CREATE TABLE IF NOT EXISTS responses (
        number INTEGER PRIMARY KEY,
        client TEXT NOT NULL, id TEXT NOT NULL,
        created INTEGER NOT NULL, used INTEGER NOT NULL, bytes INTEGER NOT NULL,
        previous TEXT, input INTEGER NOT NULL, continuable INTEGER NOT NULL,
        is_stored INTEGER NOT NULL, document BLOB, items BLOB NOT NULL,
        UNIQUE (client, id)
    ) STRICT;
    CREATE INDEX IF NOT EXISTS responses_previous ON responses (client, previous);
    CREATE INDEX IF NOT EXISTS responses_used ON responses (client, used) WHERE is_stored;
    CREATE INDEX IF NOT EXISTS responses_created ON responses (created) WHERE is_stored;
    CREATE TABLE IF NOT EXISTS clients (
        client TEXT PRIMARY KEY, responses INTEGER NOT NULL, bytes INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    CREATE TRIGGER IF NOT EXISTS response_added AFTER INSERT ON responses BEGIN
        INSERT INTO clients VALUES (new.client, new.is_stored, new.bytes)
            ON CONFLICT (client) DO UPDATE SET responses = responses + new.is_stored, bytes = bytes + new.bytes;
    END;
    CREATE TRIGGER IF NOT EXISTS response_taken AFTER UPDATE OF is_stored ON responses BEGIN
        UPDATE clients SET responses = responses + new.is_stored - old.is_stored WHERE client = new.client;
    END;
    CREATE TRIGGER IF NOT EXISTS response_removed AFTER DELETE ON responses BEGIN
        UPDATE clients SET responses = responses - old.is_stored, bytes = bytes - old.bytes WHERE client = old.client;
        DELETE FROM clients WHERE client = old.client AND bytes <= 0;
    END;
    CREATE TABLE IF NOT EXISTS running (
        client TEXT NOT NULL, id TEXT NOT NULL, document BLOB NOT NULL, owner TEXT NOT NULL,
        is_cancelled INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (client, id)
    ) STRICT;";

/// The file.
#[derive(Debug)]
pub(super) struct ResponseFile {
    connection: Connection,
    limits: StoreLimits,
    clock: Clock,
    /// The owner mark of this process.
    owner: String,
}

/// The name of a response, owned by a job of the writer.
#[derive(Debug, Clone)]
pub(super) struct OwnedKey {
    pub(super) client: String,
    pub(super) id: String,
}

impl ResponseFile {
    /// Opens or creates the file.
    ///
    /// # Errors
    /// The file cannot be created, or is not an archive of this version.
    pub(super) fn open(path: &Path, limits: StoreLimits, clock: Clock) -> Result<Self, Error> {
        let mut file = Self {
            connection: sqlite::open(path, TABLES)?,
            limits,
            clock,
            owner: orphans::owner(),
        };
        file.remove_lost()?;
        file.change(|changes| changes.make_room())?;
        Ok(file)
    }

    /// Removes the responses in progress of sidecars that have ended.
    fn remove_lost(&self) -> Result<(), Error> {
        let mut query = self
            .connection
            .prepare("SELECT DISTINCT owner FROM running")?;
        let owners: Vec<String> = query
            .query_map([], |row| row.get(0))?
            .collect::<Result<_, _>>()?;
        for owner in owners.iter().filter(|owner| !is_owner_running(owner)) {
            let remove = "DELETE FROM running WHERE owner = ?1";
            self.connection.execute(remove, [owner])?;
        }
        Ok(())
    }

    fn change<T>(
        &mut self,
        run: impl FnOnce(&Changes<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let behavior = TransactionBehavior::Immediate;
        let changes = Changes {
            now: self.clock.now_ms(),
            limits: self.limits,
            transaction: self.connection.transaction_with_behavior(behavior)?,
        };
        let result = run(&changes)?;
        changes.transaction.commit()?;
        Ok(result)
    }

    /// Stores a response, and evicts others beyond the limits.
    pub(super) fn put(&mut self, key: &OwnedKey, response: &NewResponse) -> Result<(), Error> {
        self.change(|changes| {
            changes.end(key)?;
            changes.insert(key, response)?;
            changes.make_room()
        })
    }

    /// Adds a response in progress.
    pub(super) fn begin(&mut self, key: &OwnedKey, document: &[u8]) -> Result<(), Error> {
        self.connection
            .prepare_cached(
                "INSERT OR REPLACE INTO running (client, id, document, owner) VALUES (?1, ?2, ?3, ?4)",
            )?
            .execute(params![key.client, key.id, document, self.owner])?;
        Ok(())
    }

    /// Removes a response in progress.
    pub(super) fn end(&mut self, key: &OwnedKey) -> Result<(), Error> {
        self.change(|changes| changes.end(key))
    }

    /// Asks the sidecar that runs the response to cancel it.
    pub(super) fn cancel(&mut self, key: &OwnedKey) -> Result<(), Error> {
        self.connection
            .prepare_cached("UPDATE running SET is_cancelled = 1 WHERE client = ?1 AND id = ?2")?
            .execute([&key.client, &key.id])?;
        Ok(())
    }

    /// Whether a sidecar has asked to cancel the response.
    pub(super) fn is_cancelled(&self, key: &OwnedKey) -> Result<bool, Error> {
        self.connection
            .prepare_cached("SELECT 1 FROM running WHERE client = ?1 AND id = ?2 AND is_cancelled")?
            .exists([&key.client, &key.id])
    }

    /// Returns a response with its conversation.
    pub(super) fn get(&self, key: &OwnedKey) -> Result<Archived, Error> {
        if let Some(document) = self.running(key)? {
            return Ok(Archived::Running(document));
        }
        let Some((document, continuable)) = self.stored(key)? else {
            return Ok(Archived::Missing);
        };
        // On a full disk only the order of eviction suffers.
        self.connection
            .prepare_cached("UPDATE responses SET used = ?3 WHERE client = ?1 AND id = ?2")?
            .execute(params![
                key.client,
                key.id,
                self.clock.now_ms().cast_signed()
            ])
            .ok();
        Ok(Archived::Ended(ArchivedResponse {
            document,
            continuable,
            nodes: self.nodes(key)?,
        }))
    }

    /// Whether a response can be retrieved.
    pub(super) fn has(&self, key: &OwnedKey) -> Result<bool, Error> {
        Ok(self.running(key)?.is_some() || self.stored(key)?.is_some())
    }

    /// Deletes a response. Returns false for one that is unknown or in progress.
    pub(super) fn delete(&mut self, key: &OwnedKey) -> Result<bool, Error> {
        if self.stored(key)?.is_none() {
            return Ok(false);
        }
        self.change(|changes| changes.drop(&key.client, &key.id))?;
        Ok(true)
    }

    fn running(&self, key: &OwnedKey) -> Result<Option<Bytes>, Error> {
        let found: Option<(Vec<u8>, String)> = self
            .connection
            .prepare_cached("SELECT document, owner FROM running WHERE client = ?1 AND id = ?2")?
            .query_row([&key.client, &key.id], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        let is_alive = |(_, owner): &(Vec<u8>, String)| is_owner_running(owner);
        Ok(found.filter(is_alive).map(|(document, _)| document.into()))
    }

    fn stored(&self, key: &OwnedKey) -> Result<Option<(Bytes, bool)>, Error> {
        let expired = expired(&self.limits, self.clock.now_ms());
        self.connection
            .prepare_cached(
                "SELECT document, continuable FROM responses
                 WHERE client = ?1 AND id = ?2 AND is_stored AND created > ?3",
            )?
            .query_row(params![key.client, key.id, expired], |row| {
                let document: Vec<u8> = row.get(0)?;
                Ok((document.into(), row.get(1)?))
            })
            .optional()
    }

    /// Returns the nodes of a conversation, newest first.
    fn nodes(&self, key: &OwnedKey) -> Result<Vec<ArchivedNode>, Error> {
        let mut query = self.connection.prepare_cached(
            "SELECT items, input, previous FROM responses WHERE client = ?1 AND id = ?2",
        )?;
        let (mut nodes, mut next) = (Vec::new(), Some(key.id.clone()));
        while let Some(id) = next {
            let found = query.query_row([&key.client, &id], |row| {
                let items: Vec<u8> = row.get(0)?;
                Ok((items, row.get(1)?, row.get(2)?))
            });
            let Some((items, input, previous)) = found.optional()? else {
                break;
            };
            let items = serde_json::from_slice(&items)
                .map_err(|error| Error::ToSqlConversionFailure(Box::new(error)))?;
            let input: i64 = input;
            nodes.push(ArchivedNode {
                id,
                items,
                input_len: usize::try_from(input).unwrap_or(0),
            });
            next = previous;
        }
        Ok(nodes)
    }
}

/// A change of the file, which is made whole or not at all.
struct Changes<'a> {
    transaction: Transaction<'a>,
    limits: StoreLimits,
    now: u64,
}

impl Changes<'_> {
    fn insert(&self, key: &OwnedKey, response: &NewResponse) -> Result<(), Error> {
        let size = response.document.len() + response.items.len() + OVERHEAD_BYTES;
        self.transaction
            .prepare_cached(
                "INSERT INTO responses
                 (client, id, created, used, bytes, previous, input, continuable, is_stored, document, items)
                 VALUES (?1, ?2, ?3, ?3, ?4, ?5, ?6, ?7, 1, ?8, ?9)",
            )?
            .execute(params![
                key.client,
                key.id,
                self.now.cast_signed(),
                signed(size),
                response.previous,
                signed(response.input_len),
                response.continuable,
                response.document.as_ref(),
                response.items
            ])?;
        Ok(())
    }

    fn end(&self, key: &OwnedKey) -> Result<(), Error> {
        self.transaction
            .prepare_cached("DELETE FROM running WHERE client = ?1 AND id = ?2")?
            .execute([&key.client, &key.id])?;
        Ok(())
    }

    /// Takes the response from its id. Its items go with it, unless a conversation continues from them.
    fn drop(&self, client: &str, id: &str) -> Result<(), Error> {
        self.transaction
            .prepare_cached(
                "UPDATE responses SET is_stored = 0, document = NULL WHERE client = ?1 AND id = ?2",
            )?
            .execute([client, id])?;
        let mut free = self.transaction.prepare_cached(
            "DELETE FROM responses AS node WHERE client = ?1 AND id = ?2 AND NOT is_stored
             AND NOT EXISTS (SELECT 1 FROM responses WHERE client = ?1 AND previous = node.id)
             RETURNING previous",
        )?;
        let mut next = Some(id.to_owned());
        while let Some(id) = next {
            let previous = free.query_row([client, &id], |row| row.get(0));
            next = previous.optional()?.flatten();
        }
        Ok(())
    }

    /// Removes expired responses, and those beyond the limits.
    fn make_room(&self) -> Result<(), Error> {
        let oldest = "SELECT client, id FROM responses WHERE is_stored AND created <= ?1
                      ORDER BY created LIMIT 1";
        while self.drop_found(oldest, expired(&self.limits, self.now))? {}
        // The client that keeps most makes room, as in memory.
        let of_largest = |amount: &str| {
            format!(
                "SELECT client, id FROM responses WHERE is_stored
                 AND client = (SELECT client FROM clients WHERE responses > 0 ORDER BY {amount} DESC LIMIT 1)
                 AND (SELECT sum({amount}) FROM clients) > ?1
                 ORDER BY used, number LIMIT 1"
            )
        };
        let max_responses = self.limits.responses.map_or(0, NonZeroUsize::get);
        while self.drop_found(&of_largest("responses"), signed(max_responses))? {}
        while self.drop_found(&of_largest("bytes"), signed(self.limits.bytes))? {}
        Ok(())
    }

    /// Drops the response that a query names. Returns false if it names none.
    fn drop_found(&self, query: &str, parameter: i64) -> Result<bool, Error> {
        let found: Option<(String, String)> = self
            .transaction
            .prepare_cached(query)?
            .query_row([parameter], |row| Ok((row.get(0)?, row.get(1)?)))
            .optional()?;
        if let Some((client, id)) = &found {
            self.drop(client, id)?;
        }
        Ok(found.is_some())
    }
}

/// Returns the time of creation up to which a response has expired.
fn expired(limits: &StoreLimits, now: u64) -> i64 {
    let Some(age) = limits.age else {
        return i64::MIN;
    };
    now.cast_signed()
        .saturating_sub(i64::try_from(age.as_millis()).unwrap_or(i64::MAX))
}

/// SQLite has signed integers only.
fn signed(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}
