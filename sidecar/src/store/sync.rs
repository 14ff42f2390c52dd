//! The responses of this process, brought up to date with the archive before a request looks at them.

use bytes::Bytes;

use super::archive::{ArchiveError, ArchiveKey, Archived};
use super::responses::ResponseStore;

/// Longest id that the archive is asked for; those of the sidecar are shorter.
const MAX_ID_BYTES: usize = 128;

impl ResponseStore {
    /// Whether an archive may have responses that this process has not.
    pub fn is_archived(&self) -> bool {
        self.shared.is_some()
    }

    /// Takes a response of `client` from the archive, or forgets it with the archive. While another sidecar runs its turn,
    /// returns its response object.
    ///
    /// # Errors
    /// The archive does not answer, and this process has no such response.
    pub async fn sync(&self, client: &str, id: &str) -> Result<Option<Bytes>, ArchiveError> {
        let Some(shared) = self.shared.as_ref().filter(|_| is_id(id)) else {
            return Ok(None);
        };
        if self.is_running(client, id) {
            return Ok(None);
        }
        let key = ArchiveKey { client, id };
        if self.stored(client, id).is_some() {
            // Kept where the archive does not answer: only a delete on another sidecar can be missed.
            if let Ok(false) = shared.archive.has(key).await {
                self.forget(client, id);
            }
            return Ok(None);
        }
        match shared.archive.get(key).await? {
            Archived::Ended(response) => {
                self.import(client, id, response);
                Ok(None)
            }
            Archived::Running(document) => Ok(Some(document)),
            Archived::Missing => Ok(None),
        }
    }

    /// Cancels a response in progress, also one of another sidecar, and waits for its end. A response that has ended is left
    /// unchanged.
    ///
    /// # Errors
    /// The archive does not answer.
    pub async fn cancel(&self, client: &str, id: &str) -> Result<(), ArchiveError> {
        let is_here = self.cancel_here(client, id).await || self.stored(client, id).is_some();
        match self.shared.as_ref().filter(|_| is_id(id)) {
            Some(shared) if !is_here => shared.cancel(client, id).await,
            Some(_) | None => Ok(()),
        }
    }

    /// Deletes a response. Conversations that continue from it keep its items. Returns false for an unknown response.
    ///
    /// # Errors
    /// The archive does not answer; nothing is deleted.
    pub async fn delete(&self, client: &str, id: &str) -> Result<bool, ArchiveError> {
        let Some(shared) = self.shared.as_ref().filter(|_| is_id(id)) else {
            return Ok(self.forget(client, id));
        };
        // The archive decides: this process may still have one that another sidecar has deleted.
        let is_deleted = shared.archive.delete(ArchiveKey { client, id }).await?;
        self.forget(client, id);
        Ok(is_deleted)
    }
}

/// Whether the text can be the id of a response. The archive names its entries by it.
fn is_id(text: &str) -> bool {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    !text.is_empty() && text.len() <= MAX_ID_BYTES && text.bytes().all(is_plain)
}
