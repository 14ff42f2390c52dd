//! The state that handlers and the admin listener share.

use std::sync::Arc;
use std::thread::available_parallelism;

use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

use super::shared_login::SharedLogin;
use super::snapshot::Snapshot;
use super::turn_recorder::UsageSinks;
use crate::codex::Backend;
use crate::config::Config;
use crate::store::{ReasoningCache, ResponseStore};
use crate::turn::MemoryBudget;

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
}

impl AppState {
    /// Returns the state of a sidecar that runs its turns on `backend`; turns without a client continue in
    /// `background`.
    pub fn new(
        config: Config,
        backend: Backend,
        background: TaskTracker,
        sinks: UsageSinks,
    ) -> Self {
        Self {
            body_memory: MemoryBudget::new(config.body_memory_bytes),
            responses: Arc::new(ResponseStore::new(config.responses)),
            config,
            backend,
            background,
            reasoning: Arc::default(),
            sinks,
            shared_login: SharedLogin::default(),
            image_checks: Arc::new(Semaphore::new(image_checks())),
        }
    }

    /// Returns a snapshot of children, turns and rate limits, for metrics and the status page.
    pub fn snapshot(&self) -> Snapshot<'_> {
        Snapshot {
            codex_version: self.backend.version(),
            protocol: self.backend.protocol().as_str(),
            login: self.backend.login().kind(),
            status: self.backend.status(),
            readiness: self.backend.readiness(),
            rate_limits: self.backend.rate_limits(),
        }
    }

    /// Returns all counters and gauges in the OpenMetrics text format.
    pub fn metrics(&self) -> String {
        self.sinks.metrics.expose(&self.snapshot().gauges())
    }
}

/// Returns the number of concurrent checks of images. A check takes up to ten bytes a pixel, and a second of a core for the
/// largest image. With two, a small image need not wait for a large one, but two cores must not both be taken.
fn image_checks() -> usize {
    let cores = available_parallelism().map_or(1, usize::from);
    if cores > 2 { 2 } else { 1 }
}
