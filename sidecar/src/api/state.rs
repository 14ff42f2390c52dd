//! The state that handlers and the admin listener share.

use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::shared_login::SharedLogin;
use super::snapshot::Snapshot;
use super::turn_recorder::UsageSinks;
use crate::codex::Backend;
use crate::config::Config;
use crate::openai::ApiError;
use crate::store::{ReasoningCache, ResponseArchive, ResponseStore, SharedResponses};
use crate::turn::{MemoryBudget, TurnError};

/// The state of one sidecar; requests share it by an `Arc`.
#[derive(Debug)]
pub struct AppState {
    pub(super) config: Config,
    pub(super) backend: Backend,
    /// Turns that continue without a client.
    pub(super) background: TaskTracker,
    /// The memory of bodies and conversations that no child has yet.
    pub(super) body_memory: MemoryBudget,
    pub(super) reasoning: Arc<ReasoningCache>,
    pub(super) responses: Arc<ResponseStore>,
    pub(super) sinks: UsageSinks,
    pub(super) shared_login: SharedLogin,
    /// Permits to decode images.
    pub(super) image_checks: Arc<Semaphore>,
    /// Permits to parse large bodies.
    pub(super) large_bodies: Arc<Semaphore>,
}

impl AppState {
    /// Returns the state of a sidecar that runs its turns on `backend`; turns without a client continue in
    /// `background`. Without an `archive`, responses are in memory alone.
    pub fn new(
        config: Config,
        backend: Backend,
        background: TaskTracker,
        sinks: UsageSinks,
        archive: Option<ResponseArchive>,
    ) -> Self {
        let archive = archive.map(|archive| SharedResponses::new(archive, background.clone()));
        Self {
            body_memory: MemoryBudget::new(config.body_memory_bytes),
            responses: Arc::new(ResponseStore::new(config.responses).archived_in(archive)),
            config,
            backend,
            background,
            reasoning: Arc::default(),
            sinks,
            shared_login: SharedLogin::default(),
            image_checks: Arc::new(Semaphore::new(spare_cores())),
            large_bodies: Arc::new(Semaphore::new(spare_cores())),
        }
    }

    /// Returns the budget for the memory of bodies and conversations.
    pub fn body_memory(&self) -> MemoryBudget {
        self.body_memory.clone()
    }

    /// Returns a permit for work beside the threads that serve requests.
    ///
    /// # Errors
    /// 429 when none becomes free for as long as a request may wait.
    pub(super) async fn permit(
        &self,
        permits: &Arc<Semaphore>,
    ) -> Result<OwnedSemaphorePermit, ApiError> {
        let waiting = Arc::clone(permits).acquire_owned();
        match timeout(self.config.limits.queue_timeout, waiting).await {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(TurnError::Busy.into()),
        }
    }

    /// Returns a snapshot of children, turns, rate limits and budgets, for metrics and the status page.
    pub async fn snapshot(&self) -> Snapshot<'_> {
        Snapshot {
            codex_version: self.backend.version(),
            protocol: self.backend.protocol().as_str(),
            login: self.backend.login().kind(),
            status: self.backend.status(),
            readiness: self.backend.readiness(),
            rate_limits: self.backend.rate_limits(),
            budgets: self.sinks.ledger.status_of_all().await,
        }
    }

    /// Returns all counters and gauges in the OpenMetrics text format.
    pub async fn metrics(&self) -> String {
        let snapshot = self.snapshot().await;
        self.sinks.metrics.expose(&snapshot.gauges())
    }
}

/// Returns the number of concurrent checks of images, and of large bodies that are parsed. A check takes up to ten bytes a
/// pixel, and a second of a core for the largest image. With two, a small one need not wait for a large one, but two cores
/// must not both be taken.
fn spare_cores() -> usize {
    let cores = available_parallelism().map_or(1, usize::from);
    if cores > 2 { 2 } else { 1 }
}
