//! The place of the sidecar's state.

use std::path::{Path, PathBuf};

use super::redis::RedisAddress;
use super::sqlite;

/// The place of the ledger, and of the other state that outlives a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum StatePlace {
    /// The memory of the process: a restart forgets the spent tokens.
    Memory,
    /// A file.
    File(PathBuf),
    /// Redis or Valkey, which several sidecars share.
    Redis(RedisAddress, Unavailable),
}

/// Checks whether a file of the state can be opened, if there is one.
///
/// # Errors
/// It is not a file of this version.
pub fn check_file(path: &Path) -> Result<(), rusqlite::Error> {
    match path.exists() {
        true => sqlite::check(path),
        false => Ok(()),
    }
}

impl StatePlace {
    /// Returns the name of the kind of place.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::File(_) => "sqlite",
            Self::Redis(..) => "redis",
        }
    }

    /// Returns the file for stored responses, beside that of the ledger, which has a writer of its own.
    pub fn responses_file(&self) -> Option<PathBuf> {
        match self {
            Self::File(path) => Some(path.with_extension("responses.sqlite3")),
            Self::Memory | Self::Redis(..) => None,
        }
    }
}

/// The treatment of keys with a budget while Redis is away.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unavailable {
    /// Their requests are rejected.
    Reject,
    /// Their requests are served; their tokens are counted once Redis is back.
    Allow,
}
