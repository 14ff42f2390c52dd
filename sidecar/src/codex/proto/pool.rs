//! The pool of `codex proto` children: a fixed number of them is kept waiting, so that no turn pays for a start.
//! A child is a task that takes one turn from the queue; the pool starts those tasks, and publishes their readiness.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;

use super::child::{ChildExit, ChildFailure, ChildReport, ChildTask, FailedChild};
use crate::codex::launch::{Launch, Login};
use crate::codex::rate_limits::SharedRateLimits;
use crate::codex::readiness::Readiness;
use crate::codex::turn_queue::TurnQueue;
use crate::error_chain;
use crate::process::ChildEnd;
use crate::turn::{Event, Outcome, TurnError};

/// Delay after the first child that failed before its turn, and the longest delay; it doubles in between.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// Capacity of the channel of the children's reports, which the pool reads within microseconds.
const REPORTS_CAPACITY: usize = 16;

/// The pool of children.
#[derive(Debug)]
pub(in crate::codex) struct Pool {
    pub(in crate::codex) launch: Arc<Launch>,
    pub(in crate::codex) rate_limits: SharedRateLimits,
    pub(in crate::codex) login: watch::Receiver<Login>,
    pub(in crate::codex) turns: TurnQueue,
    /// Number of children that wait for a turn.
    pub(in crate::codex) size: NonZeroUsize,
    pub(in crate::codex) readiness: watch::Sender<Readiness>,
    pub(in crate::codex) stop: CancellationToken,
}

impl Pool {
    /// Runs until `stop` fires and all children have exited.
    pub(in crate::codex) async fn run(self) {
        let stop = self.stop.clone();
        let login = tokio::select! {
            login = self.wait_for_login() => login,
            () = stop.cancelled() => return,
        };
        let (reports, mut received) = mpsc::channel(REPORTS_CAPACITY);
        let task = ChildTask {
            launch: Arc::clone(&self.launch),
            rate_limits: self.rate_limits.clone(),
            own_instructions: login == Login::ChatGpt,
            turns: self.turns.clone(),
            reports,
            stop: stop.clone(),
        };
        let mut children = Children::new(self, task);
        loop {
            children.fill();
            tokio::select! {
                () = stop.cancelled() => break,
                Some((child, report)) = received.recv() => children.on_report(child, report),
                // `Some`: an empty set disables the branch, and the next start is up to the timer below.
                Some(exit) = children.tasks.join_next_with_id() => children.on_exit(exit),
                () = sleep_until(children.not_before), if !children.is_full() => {}
            }
        }
        // Before the join: a child that waits to send a report must not wait for ever.
        drop(received);
        while children.tasks.join_next().await.is_some() {}
    }

    /// Waits for a login. A child that starts without one never gets one.
    async fn wait_for_login(&self) -> Login {
        let mut published = self.login.clone();
        loop {
            let login = published.borrow_and_update().clone();
            if login.is_usable() {
                return login;
            }
            if login != Login::Unchecked {
                self.readiness.send_replace(Readiness::LoginRequired);
            }
            if published.changed().await.is_err() {
                // The watch ends with `stop`, and so does this wait.
                std::future::pending::<()>().await;
            }
        }
    }
}

/// The children's tasks, and the set of those that wait for a turn.
struct Children {
    pool: Pool,
    task: ChildTask,
    tasks: JoinSet<Result<ChildExit, FailedChild>>,
    /// Children without a turn, and whether their handshake is complete.
    waiting: HashMap<Id, bool>,
    delay: Duration,
    not_before: Instant,
}

impl Children {
    fn new(pool: Pool, task: ChildTask) -> Self {
        Self {
            pool,
            task,
            tasks: JoinSet::new(),
            waiting: HashMap::new(),
            delay: BACKOFF.0,
            not_before: Instant::now(),
        }
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= self.pool.size.get()
    }

    fn fill(&mut self) {
        while !self.is_full() && Instant::now() >= self.not_before {
            let child = self.tasks.spawn(self.task.clone().run());
            self.waiting.insert(child.id(), false);
        }
    }

    fn on_report(&mut self, child: Id, report: ChildReport) {
        match report {
            ChildReport::Ready => {
                // The child may have exited since it sent the report.
                if let Some(is_ready) = self.waiting.get_mut(&child) {
                    *is_ready = true;
                    self.pool.readiness.send_replace(Readiness::Ready);
                }
            }
            ChildReport::TurnTaken => {
                self.waiting.remove(&child);
            }
        }
    }

    fn on_exit(&mut self, exit: Result<(Id, Result<ChildExit, FailedChild>), JoinError>) {
        let (child, result) = match exit {
            Ok((child, result)) => (child, Some(result)),
            Err(error) => {
                tracing::error!(%error, "child task panicked");
                (error.id(), None)
            }
        };
        self.waiting.remove(&child);
        match result {
            Some(Ok(ChildExit::Served)) => self.delay = BACKOFF.0,
            Some(Ok(ChildExit::Idle | ChildExit::Stopped)) | None => {}
            Some(Err(failed)) => self.on_failure(failed),
        }
    }

    /// Delays the next start, longer each time. While no child is ready, queued turns are rejected instead of waiting.
    fn on_failure(&mut self, failed: FailedChild) {
        let FailedChild { failure, end, span } = failed;
        let status = end.as_ref().map(ChildEnd::status_text);
        let stderr = end.and_then(|end| end.last_words);
        span.in_scope(|| tracing::error!(error = error_chain(&failure), status, stderr, restart_in = ?self.delay, "codex child ended"));
        // Children that fail together, as those of a full pool do, count once.
        if Instant::now() >= self.not_before {
            self.not_before = Instant::now() + self.delay;
            self.delay = (self.delay * 2).min(BACKOFF.1);
        }
        if self.waiting.values().any(|is_ready| *is_ready) {
            return;
        }
        let readiness = match failure {
            ChildFailure::Spawn(_) | ChildFailure::Handshake(_) => Readiness::Unavailable,
            ChildFailure::Waiting(_) => Readiness::Starting,
        };
        self.pool.readiness.send_replace(readiness);
        if let Err(error) = readiness.check() {
            self.reject_queued(&error);
        }
    }

    fn reject_queued(&self, error: &TurnError) {
        while let Ok(turn) = self.pool.turns.try_recv() {
            let failed = Event::Finished(Outcome::Failed(error.clone()));
            turn.events.write(failed).ok(); // Fails only for a slow reader, and that turn has failed already.
        }
    }
}
