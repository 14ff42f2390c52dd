//! The writes of responses to the archive. Each is a task, so that a client that leaves does not stop it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::archive::{ArchiveError, ArchiveKey, Archived, NewResponse, ResponseArchive};
use super::response_record::ResponseRecord;
use crate::error_chain;

/// Longest wait for a write to the archive before the end of a response is sent.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

/// Time between two looks for a cancel of another sidecar, for each response that is in progress in the background.
const CANCEL_INTERVAL: Duration = Duration::from_millis(500);

/// Time between two looks for the end of a response that another sidecar cancels.
const END_INTERVAL: Duration = Duration::from_millis(100);

/// The tokens of a response in progress.
#[derive(Debug, Clone)]
pub(super) struct TurnTokens {
    /// Fired to cancel the turn.
    pub(super) cancelled: CancellationToken,
    /// Fired when the turn has ended and its response is stored.
    pub(super) ended: CancellationToken,
}

/// The archive as the responses of this process use it.
#[derive(Debug, Clone)]
pub struct SharedResponses {
    pub(super) archive: Arc<ResponseArchive>,
    tasks: TaskTracker,
}

/// A write to the archive.
#[derive(Debug, Default)]
pub struct ArchiveWrite(Option<oneshot::Receiver<()>>);

impl ArchiveWrite {
    /// Waits until the archive has the response, or has had its time. A client that has seen the end of the response can
    /// then continue on another sidecar.
    pub async fn finished(&mut self) {
        if let Some(written) = self.0.take() {
            timeout(WRITE_TIMEOUT, written).await.ok(); // The task logs the failure.
        }
    }
}

impl SharedResponses {
    /// Returns the archive for the responses of this process. Writes run in `tasks`.
    pub fn new(archive: ResponseArchive, tasks: TaskTracker) -> Self {
        Self {
            archive: Arc::new(archive),
            tasks,
        }
    }

    pub(super) fn put(&self, client: &str, id: &str, record: &ResponseRecord) -> ArchiveWrite {
        let items = serde_json::to_vec(&record.items);
        let response = NewResponse {
            document: record.document.clone(),
            items: items.expect("items have no maps with keys that JSON lacks"),
            input_len: record.input_len,
            continuable: record.continuable,
            previous: record.previous.as_ref().map(|node| node.id.to_string()),
        };
        let (written, write) = oneshot::channel();
        let (archive, client, id) = self.named(client, id);
        self.tasks.spawn(async move {
            let (client, id) = (&client, &id);
            log(archive.put(ArchiveKey { client, id }, response).await);
            written.send(()).ok(); // The client has left.
        });
        ArchiveWrite(Some(write))
    }

    /// Adds a response in progress, and looks for a cancel of another sidecar until the response ends.
    pub(super) fn begin(&self, client: &str, id: &str, document: Bytes, turn: TurnTokens) {
        let (archive, client, id) = self.named(client, id);
        self.tasks.spawn(async move {
            let (client, id) = (&client, &id);
            let key = ArchiveKey { client, id };
            log(archive.begin(key, &document).await);
            while timeout(CANCEL_INTERVAL, turn.ended.cancelled())
                .await
                .is_err()
            {
                // An archive that is away may answer the next time.
                if archive.is_cancelled(key).await.unwrap_or(false) {
                    turn.cancelled.cancel();
                    break;
                }
            }
        });
    }

    /// Asks the sidecar that runs a response to cancel it, and waits until the response has ended.
    pub(super) async fn cancel(&self, client: &str, id: &str) -> Result<(), ArchiveError> {
        let key = ArchiveKey { client, id };
        self.archive.cancel(key).await?;
        while let Archived::Running(_) = self.archive.get(key).await? {
            sleep(END_INTERVAL).await;
        }
        Ok(())
    }

    pub(super) fn end(&self, client: &str, id: &str) {
        let (archive, client, id) = self.named(client, id);
        self.tasks.spawn(async move {
            let (client, id) = (&client, &id);
            log(archive.end(ArchiveKey { client, id }).await);
        });
    }

    fn named(&self, client: &str, id: &str) -> (Arc<ResponseArchive>, String, String) {
        (Arc::clone(&self.archive), client.to_owned(), id.to_owned())
    }
}

fn log(result: Result<(), ArchiveError>) {
    if let Err(error) = result {
        tracing::error!(error = error_chain(&error), "response archive write failed");
    }
}
