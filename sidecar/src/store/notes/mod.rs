//! Notes: facts that a sidecar has learned, which make later turns cheaper or more exact. Losing one costs a miss of the
//! provider's prompt cache, or an estimate that is less exact. The writer of the ledger writes them.

mod file;
mod note;
mod redis;
mod sessions;

pub(super) use file::{NOTE_TABLES, read_notes, trim_notes, write_note};
pub(super) use note::{KnownNotes, Note};
pub(super) use redis::RedisNotes;
pub(super) use sessions::NoteSink;
pub use sessions::SessionIds;
