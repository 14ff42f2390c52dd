//! The files of SQLite: private, with a write-ahead log. A committed change survives the death of the process.

use std::fs::File;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, Error, OpenFlags};

/// The version of the tables of every file.
const VERSION: i64 = 1;

/// Longest wait for another process that writes.
const BUSY_TIMEOUT: Duration = Duration::from_millis(500);

/// Opens or creates the file with its tables.
///
/// # Errors
/// The file cannot be created, or is not one of this version.
pub(super) fn open(path: &Path, tables: &str) -> Result<Connection, Error> {
    // Created before SQLite does, which would let others read it.
    File::options()
        .create(true)
        .append(true)
        .mode(0o600)
        .open(path)
        .map_err(|error| Error::ToSqlConversionFailure(Box::new(error)))?;
    let connection = Connection::open(path)?;
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    // A commit survives SIGKILL; power that fails may take the last second's, which the next checkpoint writes.
    connection.pragma_update(None, "synchronous", "NORMAL")?;
    check_version(&connection)?;
    connection.execute_batch(tables)?;
    connection.pragma_update(None, "user_version", VERSION)?;
    Ok(connection)
}

/// Writes a page of the file in the open transaction.
///
/// # Errors
/// The file cannot be written.
pub(super) fn touch(connection: &Connection) -> Result<(), Error> {
    connection.pragma_update(None, "user_version", VERSION)
}

/// Checks an existing file, and leaves no other beside it.
///
/// # Errors
/// The file cannot be read, or is not one of this version.
pub(super) fn check(path: &Path) -> Result<(), Error> {
    // Without `immutable`, a reader of a write-ahead log makes files that it does not remove. SQLite, "URI Filenames".
    let uri = format!("file:{}?immutable=1", escaped(path));
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_URI;
    check_version(&Connection::open_with_flags(uri, flags)?)
}

fn escaped(path: &Path) -> String {
    let path = path.to_string_lossy();
    path.replace('%', "%25")
        .replace('?', "%3f")
        .replace('#', "%23")
}

fn check_version(connection: &Connection) -> Result<(), Error> {
    let version: i64 = connection.query_row("PRAGMA user_version", [], |row| row.get(0))?;
    if version > VERSION {
        return Err(Error::InvalidQuery);
    }
    Ok(())
}
