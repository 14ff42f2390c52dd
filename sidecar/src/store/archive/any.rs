//! The archive in its place: Redis, or a file.

use std::path::Path;

use super::record::{ArchiveError, ArchiveKey, Archived, NewResponse};
use super::redis::RedisArchive;
use super::writer::{ArchiveWriter, FileArchive};
use crate::store::ledger::Ledger;
use crate::store::limits::StoreLimits;

/// The archive.
#[derive(Debug)]
pub struct ResponseArchive(Place);

#[derive(Debug)]
enum Place {
    Redis(RedisArchive),
    File(FileArchive),
}

impl ResponseArchive {
    /// Returns the archive beside `ledger`; `None` for a ledger that is not in Redis.
    pub fn beside(ledger: &Ledger, limits: StoreLimits) -> Option<Self> {
        let link = ledger.link()?.clone();
        Some(Self(Place::Redis(RedisArchive::new(link, limits))))
    }

    /// Opens the archive in a file. Run the writer on its own thread.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub fn open(
        path: &Path,
        limits: StoreLimits,
    ) -> Result<(Self, ArchiveWriter), rusqlite::Error> {
        let (archive, writer) = FileArchive::open(path, limits)?;
        Ok((Self(Place::File(archive)), writer))
    }

    /// Stores a response, and evicts others beyond the limits.
    ///
    /// # Errors
    /// The archive does not answer.
    pub(in crate::store) async fn put(
        &self,
        key: ArchiveKey<'_>,
        response: NewResponse,
    ) -> Result<(), ArchiveError> {
        match &self.0 {
            Place::Redis(archive) => archive.put(key, &response).await,
            Place::File(archive) => archive.put(key, response).await,
        }
    }

    /// Adds a response in progress, so that every sidecar can tell its state.
    ///
    /// # Errors
    /// The archive does not answer.
    pub(in crate::store) async fn begin(
        &self,
        key: ArchiveKey<'_>,
        document: &[u8],
    ) -> Result<(), ArchiveError> {
        match &self.0 {
            Place::Redis(archive) => archive.begin(key, document).await,
            Place::File(archive) => archive.begin(key, document).await,
        }
    }

    /// Removes a response in progress that ends without being stored.
    ///
    /// # Errors
    /// The archive does not answer.
    pub(in crate::store) async fn end(&self, key: ArchiveKey<'_>) -> Result<(), ArchiveError> {
        match &self.0 {
            Place::Redis(archive) => archive.end(key).await,
            Place::File(archive) => archive.end(key).await,
        }
    }

    /// Asks the sidecar that runs the response to cancel it.
    ///
    /// # Errors
    /// The archive does not answer.
    pub(in crate::store) async fn cancel(&self, key: ArchiveKey<'_>) -> Result<(), ArchiveError> {
        match &self.0 {
            Place::Redis(archive) => archive.cancel(key).await,
            Place::File(archive) => archive.cancel(key).await,
        }
    }

    /// Whether a sidecar has asked to cancel the response.
    ///
    /// # Errors
    /// The archive does not answer.
    pub(in crate::store) async fn is_cancelled(
        &self,
        key: ArchiveKey<'_>,
    ) -> Result<bool, ArchiveError> {
        match &self.0 {
            Place::Redis(archive) => archive.is_cancelled(key).await,
            Place::File(archive) => archive.is_cancelled(key).await,
        }
    }

    /// Returns a response with its conversation.
    ///
    /// # Errors
    /// The archive does not answer.
    pub(in crate::store) async fn get(
        &self,
        key: ArchiveKey<'_>,
    ) -> Result<Archived, ArchiveError> {
        match &self.0 {
            Place::Redis(archive) => archive.get(key).await,
            Place::File(archive) => archive.get(key).await,
        }
    }

    /// Whether a response can be retrieved.
    ///
    /// # Errors
    /// The archive does not answer.
    pub(in crate::store) async fn has(&self, key: ArchiveKey<'_>) -> Result<bool, ArchiveError> {
        match &self.0 {
            Place::Redis(archive) => archive.has(key).await,
            Place::File(archive) => archive.has(key).await,
        }
    }

    /// Deletes a response. Returns false for one that is unknown or in progress.
    ///
    /// # Errors
    /// The archive does not answer.
    pub(in crate::store) async fn delete(&self, key: ArchiveKey<'_>) -> Result<bool, ArchiveError> {
        match &self.0 {
            Place::Redis(archive) => archive.delete(key).await,
            Place::File(archive) => archive.delete(key).await,
        }
    }
}
