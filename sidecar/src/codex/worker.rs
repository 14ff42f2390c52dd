//! One app-server child and the turns on it: moves lines between the process and the protocol, events to the turns.
//! A child that ends is restarted with a growing delay, and fails the turns that it held, each with a clear error;
//! one that is worn out is replaced first, and ends when its turns have ended.

use std::collections::HashMap;
use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tempfile::TempDir;
use tokio::process::ChildStdout;
use tokio::sync::watch;
use tokio::task::{JoinSet, yield_now};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::codec::LinesCodecError;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, info_span};

use super::app_server::{AppServer, ProtocolError, State, Step, TurnKey};
use super::launch::Launch;
use super::launch::sandbox::Workspace;
use super::protocol_log::ProtocolTap;
use super::rate_limits::SharedRateLimits;
use super::turn_queue::{QueuedTurn, Readiness, TurnPermit, TurnQueue};
use crate::config::RecycleLimits;
use crate::error_chain;
use crate::process::{ChildProcess, Lines, Pipes, Registration, Stderr, Stdin};
use crate::turn::EventWriter;

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_secs(1);

/// Delay before the first restart of a child that ended, and the longest one; it doubles in between.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// A child that lived as long as this is not part of a crash loop.
const STABLE: Duration = Duration::from_secs(10);

/// Threads that did not end, after which a child is worn out.
const MAX_STUCK_THREADS: usize = 8;

/// A child that has left a call unanswered and has said nothing for so long hangs.
const SILENCE: Duration = Duration::from_secs(5);

/// Time that turns have to end after their interrupt when the worker is told to stop.
const INTERRUPT_GRACE: Duration = Duration::from_secs(2);

/// Why a child serves no more turns.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the worker was told to stop")]
    Stopped,
    #[error("the child has served long enough")]
    Recycle,
    #[error("the child closed its stdout")]
    Closed,
    #[error("a line of the child cannot be read")]
    Line(#[from] LinesCodecError),
    #[error("the child does not read")]
    Write(#[source] std::io::Error),
    #[error("the child broke its protocol")]
    Protocol(#[from] ProtocolError),
}

/// One worker: a child that is replaced when it ends or is worn out.
#[derive(Debug)]
pub(super) struct Worker {
    pub(super) launch: Arc<Launch>,
    pub(super) plan: SharedRateLimits,
    /// Shared by all workers: whoever is ready takes the next one.
    pub(super) orders: TurnQueue,
    pub(super) readiness: watch::Sender<Readiness>,
    pub(super) wear: RecycleLimits,
    pub(super) stop: CancellationToken,
}

impl Worker {
    /// Works until `stop` fires.
    pub(super) async fn run(self) {
        let mut retiring = JoinSet::new();
        let mut delay = BACKOFF.0;
        while !self.stop.is_cancelled() {
            let started = Instant::now();
            let mut running = match Running::spawn(&self) {
                Ok(running) => running,
                Err(error) => {
                    tracing::error!(%error, restart_in = ?delay, "codex child cannot be started");
                    self.readiness.send_replace(Readiness::Unavailable);
                    self.back_off(&mut delay, started).await;
                    continue;
                }
            };
            let span = running.span();
            let ended = running.serve(&self).instrument(span.clone()).await;
            if let Ended::Recycle = ended {
                retiring.spawn(running.retire(self.stop.clone()).instrument(span));
                continue;
            }
            if let Ended::Stopped = ended {
                running.link.interrupt_all().instrument(span.clone()).await;
            } else {
                span.in_scope(|| {
                    tracing::error!(error = error_chain(&ended), restart_in = ?delay, "codex child ended");
                });
                self.readiness.send_replace(Readiness::Starting);
            }
            running.stop().instrument(span).await;
            self.back_off(&mut delay, started).await;
        }
        while retiring.join_next().await.is_some() {}
    }

    /// Waits before the next start: longer each time, unless the last child lived for long.
    async fn back_off(&self, delay: &mut Duration, started: Instant) {
        if started.elapsed() > STABLE {
            *delay = BACKOFF.0;
        }
        tokio::select! {
            () = sleep(*delay) => {}
            () = self.stop.cancelled() => {}
        }
        *delay = (*delay * 2).min(BACKOFF.1);
    }
}

/// A child and what binds us to it.
struct Running {
    child: ChildProcess,
    link: Link,
    started: Instant,
    /// When the login was written that the child has read; it never reads another.
    login_written: Option<SystemTime>,
    _databases: TempDir,
    _entered: Registration,
}

impl Running {
    fn spawn(worker: &Worker) -> std::io::Result<Self> {
        let login_written = worker.launch.login_written();
        let (program, databases) = worker.launch.app_server()?;
        let (child, pipes) = ChildProcess::spawn(&program)?;
        let entered = worker.launch.registry().register(child.pid());
        let tap = worker.launch.protocol_log().on(child.pid());
        let link = Link::new(pipes, tap, worker.plan.clone(), worker.readiness.clone());
        Ok(Self {
            child,
            link,
            started: Instant::now(),
            login_written,
            _databases: databases,
            _entered: entered,
        })
    }

    fn span(&self) -> Span {
        info_span!("child", pid = self.child.pid())
    }

    /// Takes orders until something ends it.
    async fn serve(&mut self, worker: &Worker) -> Ended {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let ready = self.link.protocol.state() == State::Ready;
            let done = tokio::select! {
                () = worker.stop.cancelled() => Err(Ended::Stopped),
                Ok(order) = worker.orders.recv(), if ready => {
                    self.link.begin(order);
                    yield_now().await; // Whoever else is ready gets the next one.
                    Ok(())
                }
                now = tick.tick() => match self.link.on_tick(now) {
                    Ok(()) if self.is_worn_out(worker) => Err(Ended::Recycle),
                    done => done,
                },
                done = self.link.step() => done,
            };
            if let Err(ended) = done {
                return ended;
            }
        }
    }

    fn is_worn_out(&self, worker: &Worker) -> bool {
        let wear = &worker.wear;
        let turns = self.link.begun;
        let stuck = self.link.protocol.stuck_threads();
        let holds_too_much = |most: NonZeroU64| turns > 0 && self.child.rss_bytes() >= most.get();
        let reasons = [
            ("turns", wear.turns.is_some_and(|most| turns >= most.get())),
            (
                "age",
                wear.age.is_some_and(|most| self.started.elapsed() >= most),
            ),
            ("memory", wear.rss_bytes.is_some_and(holds_too_much)),
            (
                "new login",
                worker.launch.login_written() != self.login_written,
            ),
            ("stuck threads", stuck >= MAX_STUCK_THREADS),
            ("silence", stuck > 0 && self.link.heard.elapsed() >= SILENCE),
        ];
        let reason = reasons.into_iter().find(|(_, holds)| *holds);
        if let Some((reason, _)) = reason {
            tracing::info!(reason, turns, "codex child is replaced");
        }
        reason.is_some()
    }

    /// Ends the turns that it has, then itself. Its successor serves already, and speaks for the worker.
    async fn retire(mut self, stop: CancellationToken) {
        self.link.readiness = None;
        let mut tick = interval(TICK);
        while !self.link.turns.is_empty() {
            let done = tokio::select! {
                () = stop.cancelled() => break,
                now = tick.tick() => self.link.on_tick(now),
                done = self.link.step() => done,
            };
            if let Err(ended) = done {
                tracing::warn!(
                    error = error_chain(&ended),
                    "retiring codex child ended early"
                );
                break;
            }
        }
        if stop.is_cancelled() {
            self.link.interrupt_all().await;
        }
        self.stop().await;
    }

    async fn stop(self) {
        drop(self.link); // Closes its stdin and fails the turns that are left.
        match self.child.stop().await {
            Ok(status) => tracing::info!(%status, "codex child reaped"),
            Err(error) => tracing::error!(%error, "codex child cannot be waited for"),
        }
    }
}

/// The running child: its pipes, its protocol, and who waits for which turn.
struct Link {
    stdin: Stdin,
    stdout: Lines<ChildStdout>,
    stderr: Stderr,
    tap: ProtocolTap,
    protocol: AppServer,
    turns: HashMap<TurnKey, Held>,
    cancelled: FuturesUnordered<BoxFuture<'static, TurnKey>>,
    /// Turns that were begun on this child, and the key of the next one.
    begun: u64,
    /// When the child said something last.
    heard: Instant,
    /// `None` when another child speaks for the worker.
    readiness: Option<watch::Sender<Readiness>>,
}

/// What a turn holds while the child knows of it.
struct Held {
    events: EventWriter,
    _slot: TurnPermit,
    _workspace: Option<Workspace>,
}

impl Link {
    fn new(
        pipes: Pipes,
        tap: ProtocolTap,
        plan: SharedRateLimits,
        readiness: watch::Sender<Readiness>,
    ) -> Self {
        let (protocol, first) = AppServer::start(plan, Instant::now());
        let mut link = Self {
            stdin: pipes.stdin,
            stdout: pipes.stdout,
            stderr: pipes.stderr,
            tap,
            protocol,
            turns: HashMap::new(),
            cancelled: FuturesUnordered::new(),
            begun: 0,
            heard: Instant::now(),
            readiness: Some(readiness),
        };
        link.carry_out(first);
        link
    }

    /// The next thing that the child or a client does. May be dropped before it is ready: nothing is lost.
    async fn step(&mut self) -> Result<(), Ended> {
        tokio::select! {
            line = self.stdout.next() => self.on_line(line),
            written = self.stdin.write() => written.map_err(Ended::Write),
            () = self.stderr.log() => Ok(()),
            Some(key) = self.cancelled.next() => {
                self.interrupt(key);
                Ok(())
            }
        }
    }

    /// Interrupts what runs, and gives the child a moment to say that it has ended.
    async fn interrupt_all(&mut self) {
        let keys: Vec<_> = self.turns.keys().copied().collect();
        for key in keys {
            self.interrupt(key);
        }
        let ending = async { while !self.turns.is_empty() && self.step().await.is_ok() {} };
        let _grace = timeout(INTERRUPT_GRACE, ending).await;
    }

    fn begin(&mut self, order: QueuedTurn) {
        if order.cancel.is_cancelled() {
            return;
        }
        let key = TurnKey(self.begun);
        self.begun += 1;
        let cancelled = order.cancel.cancelled_owned();
        self.cancelled.push(cancelled.map(move |()| key).boxed());
        let step = self
            .protocol
            .begin(key, order.request, order.workspace.as_ref());
        let held = Held {
            events: order.events,
            _slot: order.slot,
            _workspace: order.workspace,
        };
        self.turns.insert(key, held);
        self.carry_out(step);
    }

    fn interrupt(&mut self, key: TurnKey) {
        let step = self.protocol.interrupt(key);
        self.carry_out(step);
    }

    fn on_tick(&mut self, now: Instant) -> Result<(), Ended> {
        let step = self.protocol.tick(now)?;
        self.carry_out(step);
        Ok(())
    }

    fn on_line(&mut self, line: Option<Result<String, LinesCodecError>>) -> Result<(), Ended> {
        let line = line.ok_or(Ended::Closed)??;
        self.heard = Instant::now();
        tracing::trace!(line, "codex says");
        self.tap.heard(line.as_bytes());
        let step = self.protocol.read_line(&line)?;
        self.carry_out(step);
        Ok(())
    }

    fn carry_out(&mut self, step: Step) {
        self.write(step.write);
        for (key, event) in step.events {
            let too_slow = self
                .turns
                .get(&key)
                .is_some_and(|turn| turn.events.write(event).is_err());
            if too_slow {
                let step = self.protocol.interrupt(key);
                self.write(step.write);
            }
        }
        for key in step.closed {
            self.turns.remove(&key);
        }
        if let Some(readiness) = &self.readiness {
            publish(readiness, self.protocol.state());
        }
    }

    fn write(&mut self, lines: Vec<Vec<u8>>) {
        for line in lines {
            self.tap.told(&line);
            self.stdin.push(line);
        }
    }
}

/// Says what the child can do now. One that starts says nothing: its predecessor may serve to this moment,
/// and orders wait for it.
fn publish(readiness: &watch::Sender<Readiness>, state: State) {
    let now = match state {
        State::Starting => return,
        State::Ready => Readiness::Ready,
        State::LoginRequired => Readiness::LoginRequired,
    };
    readiness.send_if_modified(|current| std::mem::replace(current, now) != now);
}
