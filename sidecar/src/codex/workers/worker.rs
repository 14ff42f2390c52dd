//! A worker: the task that owns an app-server child, its restarts and the turns on it.
//! When a child fails, its turns fail with an error, and the worker starts the next child after a growing delay. When a
//! child reaches a recycle limit, the worker starts the successor at once and stops the child after its last turn.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::sync::watch;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, info_span};

use crate::codex::connection::{ChildConnection, ConnectionError};
use crate::codex::conversation::ChildConversations;
use crate::codex::launch::{ChildFolder, Launch};
use crate::codex::rate_limits::SharedRateLimits;
use crate::codex::readiness::Readiness;
use crate::codex::turn_queue::{QueuedTurn, TurnQueue};
use crate::codex::warm::WarmThreads;
use crate::config::RecycleLimits;
use crate::error_chain;
use crate::process::{ChildEnd, ChildProcess, Registration};
use crate::turn::{Profile, TurnError};

/// Time between two checks of deadlines and recycle limits.
const TICK: Duration = Duration::from_secs(1);

/// Delay before the first restart of a failed child, and the longest delay; it doubles in between.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// Age above which a child counts as stable: its exit resets the restart delay.
const STABLE_AFTER: Duration = Duration::from_secs(10);

/// Number of stuck threads at which a child is recycled.
const MAX_STUCK_THREADS: usize = 8;

/// Time without a line after which a child with a stuck thread is recycled.
const MAX_SILENCE: Duration = Duration::from_secs(5);

/// The reason why a child serves no more turns.
enum ExitReason {
    /// The worker is stopped.
    Stopped,
    /// The child has reached a recycle limit.
    Recycle,
    Failed(ConnectionError),
}

/// A worker. It owns one child at a time, and recycled children until their turns have completed.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) launch: Arc<Launch>,
    /// The profile of its turns.
    pub(super) profile: Profile,
    pub(super) rate_limits: SharedRateLimits,
    /// Shared by the workers of the group: the first ready one takes the next turn.
    pub(super) turns: TurnQueue,
    pub(super) readiness: watch::Sender<Readiness>,
    pub(super) recycle_limits: RecycleLimits,
    /// Maximum memory that a child may allocate, in bytes.
    pub(super) child_bytes: Option<NonZeroU64>,
    pub(super) warm: WarmThreads,
    pub(super) stop: CancellationToken,
}

impl Worker {
    /// Runs until `stop` fires and all children have exited.
    pub(super) async fn run(self) {
        let mut retiring = JoinSet::new();
        let mut delay = BACKOFF.0;
        let mut unasked = Vec::new();
        while !self.stop.is_cancelled() {
            let started = Instant::now();
            let mut process = match WorkerProcess::spawn(&self) {
                Ok(process) => process,
                Err(error) => {
                    tracing::error!(%error, restart_in = ?delay, "codex child start failed");
                    self.readiness.send_replace(Readiness::Unavailable);
                    self.back_off(&mut delay).await;
                    continue;
                }
            };
            let span = process.span();
            let exit = process
                .serve(&self, &mut unasked)
                .instrument(span.clone())
                .await;
            // Before the `match`, which logs the delay.
            if started.elapsed() > STABLE_AFTER {
                delay = BACKOFF.0;
            }
            match exit {
                ExitReason::Recycle => {
                    process.connection.close_threads();
                    // A task of its own, so that the successor starts at once.
                    retiring.spawn(process.retire(self.stop.clone()).instrument(span));
                    continue;
                }
                ExitReason::Stopped => {
                    process.connection.close_threads();
                    let interrupted = process.connection.interrupt_all();
                    interrupted.instrument(span.clone()).await;
                }
                ExitReason::Failed(error) => {
                    self.readiness.send_replace(Readiness::Starting);
                    let end = process.end().instrument(span.clone()).await;
                    span.in_scope(|| {
                        tracing::error!(error = error_chain(&error), status = end.status_text(), stderr = end.last_words, restart_in = ?delay, "codex child ended");
                        unasked.extend(process.take_unasked(&end));
                    });
                    let sent = process.connection.take_continuations();
                    unasked.extend(sent.into_iter().map(QueuedTurn::without_thread));
                }
            }
            process.stop().instrument(span).await;
            self.back_off(&mut delay).await;
        }
        while retiring.join_next().await.is_some() {}
    }

    /// Waits before the next start, and doubles the delay up to the longest one.
    async fn back_off(&self, delay: &mut Duration) {
        tokio::select! {
            () = sleep(*delay) => {}
            () = self.stop.cancelled() => {}
        }
        *delay = (*delay * 2).min(BACKOFF.1);
    }
}

/// A child of a worker, with everything that is released at its exit.
struct WorkerProcess {
    child: ChildProcess,
    connection: ChildConnection,
    started: Instant,
    /// Modification time of the login that the child has read. A child never reads a newer one.
    login_written: Option<SystemTime>,
    /// Generation of the list of models that the child has read.
    models_generation: u64,
    _folder: ChildFolder,
    _registration: Registration,
}

impl WorkerProcess {
    fn spawn(worker: &Worker) -> std::io::Result<Self> {
        // Read before the child starts: a login that is written during the start then differs from this time, and the
        // child is recycled.
        let login_written = worker.launch.login_written();
        let models_generation = worker.launch.models_generation();
        let (program, folder) = worker.launch.app_server(worker.profile)?;
        let conversations = folder.plain_home().map(|home| {
            let launch = &worker.launch;
            let shared = Arc::clone(launch.conversations());
            ChildConversations::new(shared, home, launch.provider_name(), models_generation)
        });
        let (child, pipes) = ChildProcess::spawn(&program)?;
        let registration = worker.launch.registry().register(child.pid());
        let log = worker.launch.protocol_log().connection(child.pid());
        let (limits, readiness) = (worker.rate_limits.clone(), worker.readiness.clone());
        Ok(Self {
            child,
            connection: ChildConnection::new(
                pipes,
                log,
                limits,
                readiness,
                conversations,
                worker.warm.add_child(),
            ),
            started: Instant::now(),
            login_written,
            models_generation,
            _folder: folder,
            _registration: registration,
        })
    }

    fn span(&self) -> Span {
        info_span!("child", pid = self.child.pid())
    }

    /// Serves queued turns until the child fails or reaches a limit, or the worker is stopped.
    /// The turns in `unasked`, which an earlier child has left, come first.
    async fn serve(&mut self, worker: &Worker, unasked: &mut Vec<QueuedTurn>) -> ExitReason {
        let mut tick = interval(TICK);
        // Delayed ticks are not made up for: the session measures time by its clock, not by counting ticks.
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let is_ready = self.connection.is_ready();
            if is_ready {
                for turn in unasked.drain(..) {
                    self.connection.begin(turn);
                }
            }
            // Every branch is cancel safe: a dropped `recv`, `tick` or `step` loses neither a turn nor a line.
            let result = tokio::select! {
                () = worker.stop.cancelled() => return ExitReason::Stopped,
                // Guarded, so that a child without handshake or login leaves the turns to the other workers.
                Ok(turn) = worker.turns.recv(), if is_ready => {
                    self.connection.begin(turn);
                    // Lets the other ready workers poll the queue. Without it one worker takes all turns of a burst.
                    yield_now().await;
                    Ok(())
                }
                now = tick.tick() => match self.on_tick(worker, now) {
                    Ok(()) if self.must_recycle(worker) => return ExitReason::Recycle,
                    result => result,
                },
                result = self.connection.step() => result,
            };
            if let Err(error) = result {
                return ExitReason::Failed(error);
            }
        }
    }

    fn on_tick(&mut self, worker: &Worker, now: Instant) -> Result<(), ConnectionError> {
        self.connection.on_tick(now)?;
        let limits = [worker.recycle_limits.rss_bytes, worker.child_bytes];
        let lowest = limits.into_iter().flatten().min();
        let is_close_to = |max: NonZeroU64| self.child.rss_bytes() >= max.get() / 4 * 3;
        // Before the child is replaced, which would end all of its threads.
        if lowest.is_some_and(is_close_to) {
            self.connection.give_up_older_half();
        }
        Ok(())
    }

    /// Waits for the end of a child that has failed.
    async fn end(&mut self) -> ChildEnd {
        ChildEnd {
            status: self.child.exit_status().await,
            last_words: self.connection.last_words().await,
        }
    }

    /// Takes the turns that the next child may begin again, after the child has ended.
    fn take_unasked(&mut self, end: &ChildEnd) -> Vec<QueuedTurn> {
        let error = if self.child.ran_out_of_memory(end.status) {
            tracing::error!("codex child exceeded its memory limit");
            Some(TurnError::OutOfMemory)
        } else {
            None
        };
        self.connection.take_unasked(error)
    }

    fn must_recycle(&self, worker: &Worker) -> bool {
        let reason = self.recycle_reason(worker);
        if let Some(reason) = reason {
            let turns = self.connection.begun();
            tracing::info!(reason, turns, "codex child recycled");
        }
        reason.is_some()
    }

    fn recycle_reason(&self, worker: &Worker) -> Option<&'static str> {
        let limits = &worker.recycle_limits;
        let turns = self.connection.begun();
        let stuck = self.connection.stuck_threads();
        let age = self.started.elapsed();
        // Not before the first turn: with a limit below an idle child's memory, no child would ever serve a turn.
        let is_too_big = |max: NonZeroU64| turns > 0 && self.child.rss_bytes() >= max.get();
        let reasons = [
            ("turns", limits.turns.is_some_and(|max| turns >= max.get())),
            ("age", limits.age.is_some_and(|max| age >= max)),
            ("memory", limits.rss_bytes.is_some_and(is_too_big)),
            (
                "new login",
                worker.launch.login_written() != self.login_written,
            ),
            (
                "new models",
                worker.launch.models_generation() != self.models_generation,
            ),
            ("stuck threads", stuck >= MAX_STUCK_THREADS),
            (
                "silence",
                stuck > 0 && self.connection.silence() >= MAX_SILENCE,
            ),
        ];
        let reason = reasons.into_iter().find(|(_, holds)| *holds);
        reason.map(|(reason, _)| reason)
    }

    /// Completes the active turns, then stops the child. Its successor serves new turns meanwhile.
    async fn retire(mut self, stop: CancellationToken) {
        // First: from here on the successor publishes the worker's readiness.
        self.connection.release_readiness();
        let mut tick = interval(TICK);
        while self.connection.has_turns() {
            let result = tokio::select! {
                () = stop.cancelled() => break,
                now = tick.tick() => self.connection.on_tick(now),
                result = self.connection.step() => result,
            };
            if let Err(error) = result {
                let end = self.end().await;
                tracing::warn!(
                    error = error_chain(&error),
                    status = end.status_text(),
                    stderr = end.last_words,
                    "recycled codex child ended early"
                );
                // Names the failure of a turn that took too much memory; the turns that are left fail.
                drop(self.take_unasked(&end));
                break;
            }
        }
        if stop.is_cancelled() {
            self.connection.interrupt_all().await;
        }
        self.stop().await;
    }

    async fn stop(self) {
        // Before the child is waited for: the drop closes the child's stdin, and fails the turns that are left.
        drop(self.connection);
        match self.child.stop().await {
            Ok(status) => tracing::info!(%status, "codex child reaped"),
            Err(error) => tracing::error!(%error, "codex child wait failed"),
        }
    }
}
