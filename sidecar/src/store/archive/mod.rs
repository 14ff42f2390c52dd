//! The archive of stored responses, which outlives a sidecar and is shared by those of a fleet.
//! `ResponseStore` is a cache in front of it.

mod record;
mod redis;
#[cfg(test)]
mod tests;

pub use record::ArchiveError;
pub(super) use record::{ArchiveKey, Archived, ArchivedResponse, NewResponse};
pub(super) use redis::ResponseArchive;
