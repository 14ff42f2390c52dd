//! Admission of turns: readiness, concurrency limit and queue, and the start of the workers.
//! A permit is a value that travels with its turn and is dropped with it, so that no code path can leak one.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::launch::sandbox::AgentSandbox;
use super::launch::{Launch, Protocol};
use super::proto::Pool;
use super::rate_limits::{RateLimits, SharedRateLimits};
use super::readiness::Readiness;
use super::turn_queue::{QueuedTurn, TurnPermit, TurnQueue};
use super::worker::Worker;
use crate::config::Limits;
use crate::process::RunningChild;
use crate::turn::{Event, Outcome, Profile, Timers, Turn, TurnError, TurnRequest, channel};

/// Capacity of the queue of admitted turns. A ready worker takes a turn within microseconds. A worker that has just
/// replaced its child takes one after the handshake, about 250 ms later.
const TURN_QUEUE_CAPACITY: usize = 64;

/// The children, as the API sees them.
#[derive(Debug)]
pub struct Backend {
    turns: async_channel::Sender<QueuedTurn>,
    workers: Vec<watch::Receiver<Readiness>>,
    /// A permit per concurrent turn; without a limit, the maximum of a semaphore.
    permits: Arc<Semaphore>,
    limits: Limits,
    queued: AtomicUsize,
    launch: Arc<Launch>,
    rate_limits: SharedRateLimits,
}

impl Backend {
    /// Starts the workers in `tasks`. They run until `stop` fires.
    pub fn start(
        launch: Launch,
        limits: Limits,
        tasks: &mut JoinSet<()>,
        stop: &CancellationToken,
    ) -> Self {
        let (turns, queue) = async_channel::bounded(TURN_QUEUE_CAPACITY);
        let launch = Arc::new(launch);
        let rate_limits = SharedRateLimits::default();
        let workers = match launch.protocol() {
            Protocol::AppServer => limits.workers.get(),
            Protocol::Proto => 1, // The pool reports one readiness for all of its children.
        };
        let workers = (0..workers)
            .map(|_| {
                let (readiness, published) = watch::channel(Readiness::Starting);
                let launch = Arc::clone(&launch);
                let (rate_limits, turns, stop) = (rate_limits.clone(), queue.clone(), stop.clone());
                match launch.protocol() {
                    Protocol::AppServer => tasks.spawn(
                        Worker {
                            launch,
                            rate_limits,
                            turns,
                            readiness,
                            recycle_limits: limits.recycle,
                            stop,
                        }
                        .run(),
                    ),
                    Protocol::Proto => tasks.spawn(
                        Pool {
                            launch,
                            rate_limits,
                            turns,
                            size: limits.proto_pool,
                            readiness,
                            stop,
                        }
                        .run(),
                    ),
                };
                published
            })
            .collect();
        tasks.spawn(interrupt_queued(queue, stop.clone()));
        Self {
            turns,
            workers,
            permits: Arc::new(Semaphore::new(permits(limits))),
            limits,
            queued: AtomicUsize::new(0),
            launch,
            rate_limits,
        }
    }

    /// Returns the readiness of the best worker.
    pub fn readiness(&self) -> Readiness {
        let workers = self.workers.iter().map(|worker| *worker.borrow());
        workers.max().unwrap_or(Readiness::Unavailable)
    }

    /// Returns the rate limits of the Codex plan, as the children reported them last.
    pub fn rate_limits(&self) -> RateLimits {
        self.rate_limits.read()
    }

    /// Returns a snapshot of workers, turns and children.
    pub fn status(&self) -> BackendStatus {
        BackendStatus {
            workers: self.workers.iter().map(|worker| *worker.borrow()).collect(),
            turns: permits(self.limits) - self.permits.available_permits(),
            turns_limit: self.limits.turns,
            // `enqueue` counts a request before it rejects that request, so the counter may exceed the limit.
            queued: self.queued.load(Ordering::Relaxed).min(self.limits.queue),
            children: self.launch.registry().running(),
            child_starts: self.launch.registry().started(),
        }
    }

    /// Returns the version of Codex.
    pub fn version(&self) -> &str {
        self.launch.version()
    }

    /// Returns the protocol of the children.
    pub fn protocol(&self) -> Protocol {
        self.launch.protocol()
    }

    /// Begins a turn as soon as it has a permit.
    ///
    /// # Errors
    /// The turn is not admitted: no child is ready, this Codex does not support tools, the agent sandbox does not work,
    /// the queue is full, `queue_timeout` has passed, or the workspace cannot be created.
    pub async fn begin(&self, request: TurnRequest, timers: Timers) -> Result<Turn, TurnError> {
        // Before the queue: a request that cannot be served must not wait for a permit first.
        self.readiness().check()?;
        if self.protocol() == Protocol::Proto && !request.tools.offered.is_empty() {
            return Err(TurnError::ToolsUnsupported(self.version().to_owned()));
        }
        let agent = match request.profile {
            Profile::Chat => None,
            Profile::Agent => Some(self.launch.agent()?),
        };
        let permit = self.acquire_permit().await?;
        let workspace = agent
            .map(AgentSandbox::workspace)
            .transpose()
            .map_err(|error| {
                tracing::error!(%error, "workspace creation failed");
                TurnError::Unavailable
            })?;
        let cancel = CancellationToken::new();
        let (events, turn) = channel(timers, cancel.clone());
        let queued = QueuedTurn {
            request,
            events,
            cancel,
            permit,
            workspace,
        };
        self.turns
            .send(queued)
            .await
            .map_err(|_stopped| TurnError::Unavailable)?;
        Ok(turn)
    }

    async fn acquire_permit(&self) -> Result<TurnPermit, TurnError> {
        let permits = &self.permits;
        if let Ok(permit) = Arc::clone(permits).try_acquire_owned() {
            return Ok(permit);
        }
        // Held during the wait; its drop leaves the queue also when the client disconnects.
        let _place = self.enqueue().ok_or(TurnError::QueueFull)?;
        match timeout(
            self.limits.queue_timeout,
            Arc::clone(permits).acquire_owned(),
        )
        .await
        {
            Ok(Ok(permit)) => Ok(permit),
            Ok(Err(_)) | Err(_) => Err(TurnError::QueueTimeout),
        }
    }

    /// Takes a place in the queue; `None` when the queue is full.
    fn enqueue(&self) -> Option<QueuePlace<'_>> {
        // Created first, so that its drop undoes the increment when the queue is full.
        let place = QueuePlace(&self.queued);
        let before = self.queued.fetch_add(1, Ordering::Relaxed);
        (before < self.limits.queue).then_some(place)
    }
}

/// A snapshot of the backend.
#[derive(Debug)]
pub struct BackendStatus {
    /// Readiness by worker; with `proto` one pool reports for all of its children.
    pub workers: Vec<Readiness>,
    /// Turns that hold a permit.
    pub turns: usize,
    /// Maximum number of concurrent turns; `None` is unlimited.
    pub turns_limit: Option<NonZeroUsize>,
    /// Requests that wait for a permit.
    pub queued: usize,
    /// The running children.
    pub children: Vec<RunningChild>,
    /// Number of children started so far.
    pub child_starts: u64,
}

fn permits(limits: Limits) -> usize {
    limits
        .turns
        .map_or(Semaphore::MAX_PERMITS, NonZeroUsize::get)
}

/// Finishes the turns that are queued when the workers stop. Without a worker they would wait for ever.
async fn interrupt_queued(turns: TurnQueue, stop: CancellationToken) {
    stop.cancelled().await;
    while let Ok(turn) = turns.recv().await {
        // Fails only for a slow reader, and that turn has failed already.
        turn.events
            .write(Event::Finished(Outcome::Interrupted))
            .ok();
    }
}

/// A place in the queue. Dropping it leaves the queue.
struct QueuePlace<'a>(&'a AtomicUsize);

impl Drop for QueuePlace<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}
