//! The archive of stored responses, which outlives a sidecar and is shared by those of a fleet.
//! `ResponseStore` is a cache in front of it.

mod operations;
mod record;
mod redis;
#[cfg(test)]
mod tests;

pub(super) use operations::ResponseArchive;
pub use record::ArchiveError;
pub(super) use record::{ArchiveKey, Archived, ArchivedResponse, NewResponse};
