//! Children started ahead: as many as wait for a turn are kept waiting, so that no turn pays for a start.
//! A child is a task that takes one turn from the orders; this is what starts them, and speaks for all of them.

use std::collections::HashMap;
use std::num::NonZeroUsize;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;

use super::child::{Broken, End, Note, Starter};
use crate::codex::launch::{Launch, Login};
use crate::codex::rate_limits::SharedRateLimits;
use crate::codex::turn_queue::{Readiness, TurnQueue};
use crate::error_chain;
use crate::turn::{Event, Outcome, TurnError};

/// Time between two looks at whether Codex has been logged in.
const LOGIN_POLL: Duration = Duration::from_secs(2);

/// Delay after the first child that did not live to take a turn, and the longest one; it doubles in between.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// Notes of children that wait to be read, which takes microseconds.
const NOTES_WAITING: usize = 16;

/// What keeps children waiting.
#[derive(Debug)]
pub(in crate::codex) struct Pool {
    pub(in crate::codex) launch: Arc<Launch>,
    pub(in crate::codex) plan: SharedRateLimits,
    pub(in crate::codex) orders: TurnQueue,
    /// Children that wait for a turn.
    pub(in crate::codex) size: NonZeroUsize,
    pub(in crate::codex) readiness: watch::Sender<Readiness>,
    pub(in crate::codex) stop: CancellationToken,
}

impl Pool {
    /// Works until `stop` fires, and until the last child is gone.
    pub(in crate::codex) async fn run(self) {
        let stop = self.stop.clone();
        let login = tokio::select! {
            login = self.login() => login,
            () = stop.cancelled() => return,
        };
        let (notes, mut noted) = mpsc::channel(NOTES_WAITING);
        let starter = Starter {
            launch: Arc::clone(&self.launch),
            plan: self.plan.clone(),
            own_instructions: login == Login::ChatGpt,
            orders: self.orders.clone(),
            notes,
            stop: stop.clone(),
        };
        let mut children = Children::new(self, starter);
        loop {
            children.fill();
            tokio::select! {
                () = stop.cancelled() => break,
                Some((child, note)) = noted.recv() => children.on_note(child, note),
                Some(ended) = children.running.join_next_with_id() => children.on_end(ended),
                () = sleep_until(children.not_before), if !children.is_full() => {}
            }
        }
        drop(noted);
        while children.running.join_next().await.is_some() {}
    }

    /// Waits for a credential: a child that starts without one never gets one.
    async fn login(&self) -> Login {
        loop {
            let login = self.launch.login_status().await;
            if login.is_usable() {
                return login;
            }
            if let Login::Unknown(reason) = login {
                tracing::warn!(reason, "codex cannot say whether it has a login");
            }
            self.readiness.send_replace(Readiness::LoginRequired);
            sleep(LOGIN_POLL).await;
        }
    }
}

/// The children, and which of them wait.
struct Children {
    pool: Pool,
    starter: Starter,
    running: JoinSet<Result<End, Broken>>,
    /// Those without a turn, and whether they have completed their handshake.
    waiting: HashMap<Id, bool>,
    delay: Duration,
    not_before: Instant,
}

impl Children {
    fn new(pool: Pool, starter: Starter) -> Self {
        Self {
            pool,
            starter,
            running: JoinSet::new(),
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
            let child = self.running.spawn(self.starter.clone().live());
            self.waiting.insert(child.id(), false);
        }
    }

    fn on_note(&mut self, child: Id, note: Note) {
        match note {
            Note::Ready => {
                if let Some(ready) = self.waiting.get_mut(&child) {
                    *ready = true;
                    self.pool.readiness.send_replace(Readiness::Ready);
                }
            }
            Note::Taken => {
                self.waiting.remove(&child);
            }
        }
    }

    fn on_end(&mut self, ended: Result<(Id, Result<End, Broken>), JoinError>) {
        let (child, ended) = match ended {
            Ok((child, ended)) => (child, Some(ended)),
            Err(panicked) => {
                tracing::error!(error = %panicked, "the task of a child ended early");
                (panicked.id(), None)
            }
        };
        self.waiting.remove(&child);
        match ended {
            Some(Ok(End::Served)) => self.delay = BACKOFF.0,
            Some(Ok(End::Retired | End::Stopped)) | None => {}
            Some(Err(broken)) => self.on_broken(&broken),
        }
    }

    /// Waits longer each time before the next start. While no child is ready, nobody is kept waiting for one.
    fn on_broken(&mut self, broken: &Broken) {
        tracing::error!(error = error_chain(broken), restart_in = ?self.delay, "codex child ended");
        if Instant::now() >= self.not_before {
            self.not_before = Instant::now() + self.delay;
            self.delay = (self.delay * 2).min(BACKOFF.1);
        }
        if self.waiting.values().any(|ready| *ready) {
            return;
        }
        let state = match broken {
            Broken::Spawn(_) | Broken::Start(_) => Readiness::Unavailable,
            Broken::Wait(_) => Readiness::Starting,
        };
        self.pool.readiness.send_replace(state);
        if let Err(error) = state.check() {
            self.turn_away(&error);
        }
    }

    fn turn_away(&self, error: &TurnError) {
        while let Ok(order) = self.pool.orders.try_recv() {
            let failed = Event::Finished(Outcome::Failed(error.clone()));
            let _client_gone = order.events.write(failed);
        }
    }
}
