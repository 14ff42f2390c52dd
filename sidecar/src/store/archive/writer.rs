//! The writer of the archive's file: carries out operations in their order, on a thread of its own.

use std::path::Path;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::timeout;

use super::file::{OwnedKey, ResponseFile};
use super::record::{ArchiveError, ArchiveKey, Archived, NewResponse};
use crate::store::ledger::Clock;
use crate::store::limits::StoreLimits;

/// Longest wait for the writer. One that hangs on its disk must not hold a request.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(2);

/// Operations that wait for the writer, with responses of up to some MiB each. Each ended response has one, so that only a
/// writer which hangs fills the channel; the archive then lacks the next responses.
const WAITING_JOBS: usize = 256;

/// An operation, which sends its own answer.
type Job = Box<dyn FnOnce(&mut ResponseFile) + Send>;

/// A handle to the archive in a file.
#[derive(Debug, Clone)]
pub(super) struct FileArchive(mpsc::Sender<Job>);

/// The writer of the archive's file. Run it on a thread of its own.
#[derive(Debug)]
pub struct ArchiveWriter {
    file: ResponseFile,
    received: mpsc::Receiver<Job>,
}

impl ArchiveWriter {
    /// Carries out operations until the last handle is dropped.
    pub fn run(mut self) {
        while let Some(job) = self.received.blocking_recv() {
            job(&mut self.file);
        }
    }
}

impl FileArchive {
    /// Opens the archive.
    ///
    /// # Errors
    /// The file cannot be opened.
    pub(super) fn open(
        path: &Path,
        limits: StoreLimits,
    ) -> Result<(Self, ArchiveWriter), rusqlite::Error> {
        let file = ResponseFile::open(path, limits, Clock::system())?;
        let (jobs, received) = mpsc::channel(WAITING_JOBS);
        Ok((Self(jobs), ArchiveWriter { file, received }))
    }

    pub(super) async fn put(
        &self,
        key: ArchiveKey<'_>,
        response: NewResponse,
    ) -> Result<(), ArchiveError> {
        self.ask(key, move |file, key| file.put(key, &response))
            .await
    }

    pub(super) async fn begin(
        &self,
        key: ArchiveKey<'_>,
        document: &[u8],
    ) -> Result<(), ArchiveError> {
        let document = document.to_vec();
        self.ask(key, move |file, key| file.begin(key, &document))
            .await
    }

    pub(super) async fn end(&self, key: ArchiveKey<'_>) -> Result<(), ArchiveError> {
        self.ask(key, ResponseFile::end).await
    }

    pub(super) async fn cancel(&self, key: ArchiveKey<'_>) -> Result<(), ArchiveError> {
        self.ask(key, ResponseFile::cancel).await
    }

    pub(super) async fn is_cancelled(&self, key: ArchiveKey<'_>) -> Result<bool, ArchiveError> {
        self.ask(key, |file, key| file.is_cancelled(key)).await
    }

    pub(super) async fn get(&self, key: ArchiveKey<'_>) -> Result<Archived, ArchiveError> {
        self.ask(key, |file, key| file.get(key)).await
    }

    pub(super) async fn has(&self, key: ArchiveKey<'_>) -> Result<bool, ArchiveError> {
        self.ask(key, |file, key| file.has(key)).await
    }

    pub(super) async fn delete(&self, key: ArchiveKey<'_>) -> Result<bool, ArchiveError> {
        self.ask(key, ResponseFile::delete).await
    }

    async fn ask<T: Send + 'static>(
        &self,
        key: ArchiveKey<'_>,
        run: impl FnOnce(&mut ResponseFile, &OwnedKey) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> Result<T, ArchiveError> {
        let (reply, answer) = oneshot::channel();
        let key = OwnedKey {
            client: key.client.to_owned(),
            id: key.id.to_owned(),
        };
        let job: Job = Box::new(move |file| {
            reply.send(run(file, &key)).ok(); // The request has ended meanwhile.
        });
        self.0
            .try_send(job)
            .map_err(|_| ArchiveError("too many operations wait for the disk".into()))?;
        match timeout(ANSWER_TIMEOUT, answer).await {
            Ok(Ok(result)) => result.map_err(|error| ArchiveError(error.into())),
            Ok(Err(_)) => Err(ArchiveError("the writer has ended".into())),
            Err(elapsed) => Err(ArchiveError(elapsed.into())),
        }
    }
}
