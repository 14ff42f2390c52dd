//! The operations of the archive.

use super::record::{ArchiveError, ArchiveKey, Archived, NewResponse};
use super::redis::RedisArchive;
use crate::store::limits::StoreLimits;
use crate::store::redis::RedisLink;

/// The archive.
#[derive(Debug)]
pub(in crate::store) struct ResponseArchive {
    place: Place,
}

#[derive(Debug)]
enum Place {
    Redis(RedisArchive),
}

impl ResponseArchive {
    pub(in crate::store) fn on_redis(link: RedisLink, limits: StoreLimits) -> Self {
        Self {
            place: Place::Redis(RedisArchive::new(link, limits)),
        }
    }

    /// Stores a response, and evicts others beyond the limits.
    ///
    /// # Errors
    /// The archive does not answer.
    pub(in crate::store) async fn put(
        &self,
        key: ArchiveKey<'_>,
        response: &NewResponse,
    ) -> Result<(), ArchiveError> {
        match &self.place {
            Place::Redis(archive) => archive.put(key, response).await,
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
        match &self.place {
            Place::Redis(archive) => archive.begin(key, document).await,
        }
    }

    /// Removes a response in progress that ends without being stored.
    ///
    /// # Errors
    /// The archive does not answer.
    pub(in crate::store) async fn end(&self, key: ArchiveKey<'_>) -> Result<(), ArchiveError> {
        match &self.place {
            Place::Redis(archive) => archive.end(key).await,
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
        match &self.place {
            Place::Redis(archive) => archive.get(key).await,
        }
    }

    /// Whether a response can be retrieved.
    ///
    /// # Errors
    /// The archive does not answer.
    pub(in crate::store) async fn has(&self, key: ArchiveKey<'_>) -> Result<bool, ArchiveError> {
        match &self.place {
            Place::Redis(archive) => archive.has(key).await,
        }
    }

    /// Deletes a response. Returns false for one that is unknown or in progress.
    ///
    /// # Errors
    /// The archive does not answer.
    pub(in crate::store) async fn delete(&self, key: ArchiveKey<'_>) -> Result<bool, ArchiveError> {
        match &self.place {
            Place::Redis(archive) => archive.delete(key).await,
        }
    }
}
