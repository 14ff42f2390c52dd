//! The writer of the ledger, in any place.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::clock::Clock;
use super::command::Command;
use super::local::{LedgerFile, LocalLedger, LocalWriter};
use super::ratios::TokenRatios;
use super::redis::RedisWriter;
use crate::store::notes::KnownNotes;
use crate::store::redis::{RedisKeeper, RedisLink};
use crate::store::state::StatePlace;

/// The ledger cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum LedgerOpenError {
    /// The file cannot be opened.
    #[error(transparent)]
    File(#[from] rusqlite::Error),
    /// A connection to Redis needs a runtime.
    #[error(transparent)]
    Runtime(#[from] tokio::runtime::TryCurrentError),
    /// The process needs a name in Redis, or row numbers in the file.
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
        let first_row = file.as_ref().map(|_| getrandom::u64()).transpose()?;
        let ledger = Arc::new(LocalLedger::new(clock, first_row.map(u64::cast_signed)));
        let writer = LocalWriter::open(ledger, file, received, commands)?;
        let writer = Self(Writer::Local(Box::new(writer)));
        Ok((writer, known.unwrap_or_default()))
    }

    pub(super) fn link(&self) -> Option<&RedisLink> {
        match &self.0 {
            Writer::Local(_) => None,
            Writer::Redis(writer) => Some(writer.link()),
        }
    }

    /// Returns the ledger of this process; `None` for one in Redis.
    pub(super) fn local(&self) -> Option<&Arc<LocalLedger>> {
        match &self.0 {
            Writer::Local(writer) => Some(writer.ledger()),
            Writer::Redis(_) => None,
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
