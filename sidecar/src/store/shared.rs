//! The writes of responses to the archive. Each is a task, so that a client that leaves does not stop it.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::oneshot;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::archive::{ArchiveError, ArchiveKey, NewResponse, ResponseArchive};
use super::ledger::Ledger;
use super::limits::StoreLimits;
use super::response_record::ResponseRecord;
use crate::error_chain;

/// Longest wait for a write to the archive before the end of a response is sent.
const WRITE_TIMEOUT: Duration = Duration::from_secs(2);

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
    /// Returns the archive beside `ledger`; `None` for a ledger without one. Writes run in `tasks`.
    pub fn beside(ledger: &Ledger, limits: StoreLimits, tasks: TaskTracker) -> Option<Self> {
        let link = ledger.link()?.clone();
        Some(Self {
            archive: Arc::new(ResponseArchive::new(link, limits)),
            tasks,
        })
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
            log(archive.put(ArchiveKey { client, id }, &response).await);
            written.send(()).ok(); // The client has left.
        });
        ArchiveWrite(Some(write))
    }

    pub(super) fn begin(&self, client: &str, id: &str, document: Bytes) {
        let (archive, client, id) = self.named(client, id);
        self.tasks.spawn(async move {
            let (client, id) = (&client, &id);
            log(archive.begin(ArchiveKey { client, id }, &document).await);
        });
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
