//! The archive of stored responses, which outlives a sidecar: in Redis, which the sidecars of a fleet share, or in a file.
//! `ResponseStore` is a cache in front of it.

mod any;
mod file;
mod record;
mod redis;
#[cfg(test)]
mod tests;
mod writer;

pub use any::ResponseArchive;
pub use record::ArchiveError;
pub(super) use record::{ArchiveKey, Archived, ArchivedResponse, NewResponse};
pub use writer::ArchiveWriter;
