//! A group of workers: their queue of turns, their readiness, and their start.

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::select_all;
use tokio::sync::{SetOnce, watch};
use tokio::task::JoinSet;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::worker::Worker;
use crate::codex::launch::{Launch, Login, Protocol};
use crate::codex::proto::Pool;
use crate::codex::rate_limits::SharedRateLimits;
use crate::codex::readiness::Readiness;
use crate::codex::turn_queue::{QueuedTurn, TurnQueue};
use crate::codex::warm::WarmThreads;
use crate::config::Limits;
use crate::turn::{Event, Outcome, Profile, TurnError};

/// Capacity of the queue of admitted turns. A ready worker takes a turn within microseconds. A worker that has just
/// replaced its child takes one after the handshake, about 250 ms later.
const TURN_QUEUE_CAPACITY: usize = 64;

/// Longest wait of a turn for the first handshake of its group, as long as each call of the handshake may take.
const START_TIMEOUT: Duration = Duration::from_secs(10);

/// The moment at which the workers of a group start their children.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::codex) enum GroupStart {
    /// With the sidecar.
    AtOnce,
    /// With the first turn of the group, which waits for the handshake.
    OnDemand,
}

/// The parts that all groups share.
#[derive(Debug, Clone)]
pub(in crate::codex) struct WorkerSettings {
    pub(in crate::codex) launch: Arc<Launch>,
    pub(in crate::codex) rate_limits: SharedRateLimits,
    pub(in crate::codex) login: watch::Receiver<Login>,
    pub(in crate::codex) limits: Limits,
    pub(in crate::codex) warm: WarmThreads,
    pub(in crate::codex) stop: CancellationToken,
}

/// The workers of one profile; with `proto`, the pool of all children.
#[derive(Debug)]
pub(in crate::codex) struct WorkerGroup {
    turns: async_channel::Sender<QueuedTurn>,
    workers: Vec<watch::Receiver<Readiness>>,
    start: GroupStart,
    /// Set when the children are wanted.
    wanted: Arc<SetOnce<()>>,
}

impl WorkerGroup {
    /// Starts the workers of `profile` in `tasks`. They run until the settings' `stop` fires.
    pub(in crate::codex) fn start(
        profile: Profile,
        start: GroupStart,
        settings: &WorkerSettings,
        tasks: &mut JoinSet<()>,
    ) -> Self {
        let (turns, queue) = async_channel::bounded(TURN_QUEUE_CAPACITY);
        let wanted = Arc::new(match start {
            GroupStart::AtOnce => SetOnce::new_with(Some(())),
            GroupStart::OnDemand => SetOnce::new(),
        });
        let count = match settings.launch.protocol() {
            Protocol::AppServer => settings.limits.workers.get(),
            Protocol::Proto => 1, // The pool reports one readiness for all of its children.
        };
        let spawn = |_| {
            let (readiness, published) = watch::channel(Readiness::Starting);
            settings.spawn(profile, queue.clone(), readiness, &wanted, tasks);
            published
        };
        let workers = (0..count).map(spawn).collect();
        tasks.spawn(interrupt_queued(queue, settings.stop.clone()));
        Self {
            turns,
            workers,
            start,
            wanted,
        }
    }

    /// Returns the readiness of the best worker.
    pub(in crate::codex) fn readiness(&self) -> Readiness {
        let workers = self.workers.iter().map(|worker| *worker.borrow());
        workers.max().unwrap_or(Readiness::Unavailable)
    }

    /// Returns the readiness of each worker that was started.
    pub(in crate::codex) fn started(&self) -> impl Iterator<Item = Readiness> {
        let workers = if self.wanted.initialized() {
            self.workers.as_slice()
        } else {
            &[]
        };
        workers.iter().map(|worker| *worker.borrow())
    }

    /// Checks that a turn can begin. A group that starts on demand is started, and waited for.
    ///
    /// # Errors
    /// No worker is ready; the error names the reason.
    pub(in crate::codex) async fn ready(&self) -> Result<(), TurnError> {
        if self.start == GroupStart::OnDemand {
            self.wanted.set(()).ok(); // Fails when an earlier turn has started the group.
            timeout(START_TIMEOUT, self.started_or_failed()).await.ok();
        }
        self.readiness().check()
    }

    /// Waits until a worker is ready, or has failed.
    async fn started_or_failed(&self) {
        let mut workers = self.workers.clone();
        while self.readiness() == Readiness::Starting {
            let changes = workers.iter_mut().map(|worker| worker.changed().boxed());
            // An error means that the worker has stopped.
            let (Ok(()), ..) = select_all(changes).await else {
                return;
            };
        }
    }

    /// Queues an admitted turn.
    ///
    /// # Errors
    /// The workers have stopped.
    pub(in crate::codex) async fn enqueue(&self, turn: QueuedTurn) -> Result<(), TurnError> {
        let sent = self.turns.send(turn).await;
        sent.map_err(|_stopped| TurnError::Unavailable)
    }
}

impl WorkerSettings {
    fn spawn(
        &self,
        profile: Profile,
        turns: TurnQueue,
        readiness: watch::Sender<Readiness>,
        wanted: &Arc<SetOnce<()>>,
        tasks: &mut JoinSet<()>,
    ) {
        let Self {
            launch,
            rate_limits,
            login,
            limits,
            warm,
            stop,
        } = self.clone();
        match launch.protocol() {
            Protocol::AppServer => {
                let worker = Worker {
                    launch,
                    profile,
                    rate_limits,
                    turns,
                    readiness,
                    recycle_limits: limits.recycle,
                    child_bytes: limits.child_bytes,
                    warm,
                    stop,
                };
                let wanted = Arc::clone(wanted);
                tasks.spawn(async move {
                    tokio::select! {
                        _unit = wanted.wait() => worker.run().await,
                        () = worker.stop.cancelled() => {}
                    }
                });
            }
            Protocol::Proto => {
                let pool = Pool {
                    launch,
                    rate_limits,
                    login,
                    turns,
                    size: limits.proto_pool,
                    readiness,
                    stop,
                };
                tasks.spawn(pool.run());
            }
        }
    }
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
