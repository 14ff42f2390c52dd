//! One app-server child and the turns on it: moves lines between the process and the protocol, events to the turns.
//! The child is restarted with a growing delay; its death fails the turns that it held, each with a clear error.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf, Bytes};
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::process::{ChildStderr, ChildStdin, ChildStdout};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep, timeout};
use tokio_util::codec::LinesCodecError;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, info_span};

use super::app_server::{AppServer, ProtocolError, State, Step, TurnKey};
use super::backend::{Readiness, Slot};
use super::launch::Launch;
use crate::error_chain;
use crate::process::{Child, Lines, Pipes};
use crate::turn::{EventWriter, TurnRequest};

/// How often deadlines are looked at.
const TICK: Duration = Duration::from_secs(1);

/// Delay before the first restart of a child that ended, and the longest one; it doubles in between.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// A child that lived as long as this is not part of a crash loop.
const STABLE: Duration = Duration::from_secs(60);

/// Time that turns have to end after their interrupt when the worker is told to stop.
const INTERRUPT_GRACE: Duration = Duration::from_secs(2);

/// A turn for a worker.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) request: TurnRequest,
    pub(super) events: EventWriter,
    pub(super) cancel: CancellationToken,
    /// Held until the child knows nothing of the turn any more.
    pub(super) slot: Option<Slot>,
}

/// Why a child is no longer there.
#[derive(Debug, thiserror::Error)]
enum Ended {
    #[error("the worker was told to stop")]
    Stopped,
    #[error("the child closed its stdout")]
    Closed,
    #[error("the child cannot be started")]
    Spawn(#[source] std::io::Error),
    #[error("a line of the child cannot be read")]
    Line(#[from] LinesCodecError),
    #[error("the child does not read")]
    Write(#[source] std::io::Error),
    #[error("the child broke its protocol")]
    Protocol(#[from] ProtocolError),
}

/// Keeps one child running until `stop` fires, and has it work off `orders`.
pub(super) async fn run(
    launch: Arc<Launch>,
    mut orders: mpsc::Receiver<Order>,
    readiness: watch::Sender<Readiness>,
    stop: CancellationToken,
) {
    let mut delay = BACKOFF.0;
    loop {
        let started = Instant::now();
        let ended = live(&launch, &mut orders, &readiness, &stop).await;
        if let Ended::Stopped = ended {
            return;
        }
        tracing::error!(error = error_chain(&ended), restart_in = ?delay, "codex child ended");
        readiness.send_replace(match ended {
            Ended::Spawn(_) => Readiness::Unavailable,
            Ended::Stopped
            | Ended::Closed
            | Ended::Line(_)
            | Ended::Write(_)
            | Ended::Protocol(_) => Readiness::Starting,
        });
        tokio::select! {
            () = sleep(delay) => {}
            () = stop.cancelled() => return,
        }
        let stable = started.elapsed() > STABLE;
        delay = if stable {
            BACKOFF.0
        } else {
            (delay * 2).min(BACKOFF.1)
        };
    }
}

/// One child from its spawn to its end.
async fn live(
    launch: &Launch,
    orders: &mut mpsc::Receiver<Order>,
    readiness: &watch::Sender<Readiness>,
    stop: &CancellationToken,
) -> Ended {
    let (child, pipes) = match Child::spawn(&launch.app_server()) {
        Ok(spawned) => spawned,
        Err(error) => return Ended::Spawn(error),
    };
    let span = info_span!("child", pid = child.pid());
    async {
        let mut link = Link::new(pipes, readiness);
        let ended = link.work(orders, stop).await;
        if let Ended::Stopped = ended {
            link.interrupt_all().await;
        }
        drop(link); // Closes its stdin and fails the turns that are left.
        match child.stop().await {
            Ok(status) => tracing::info!(%status, "codex child reaped"),
            Err(error) => tracing::error!(%error, "codex child cannot be waited for"),
        }
        ended
    }
    .instrument(span)
    .await
}

/// The running child: its pipes, its protocol, and who waits for which turn.
struct Link<'a> {
    stdin: ChildStdin,
    stdout: Lines<ChildStdout>,
    /// `None` once it is closed.
    stderr: Option<Lines<ChildStderr>>,
    unwritten: VecDeque<Bytes>,
    protocol: AppServer,
    turns: HashMap<TurnKey, Held>,
    cancelled: FuturesUnordered<BoxFuture<'static, TurnKey>>,
    next_key: u64,
    readiness: &'a watch::Sender<Readiness>,
}

/// What a turn holds while the child knows of it.
struct Held {
    events: EventWriter,
    _slot: Option<Slot>,
}

impl<'a> Link<'a> {
    fn new(pipes: Pipes, readiness: &'a watch::Sender<Readiness>) -> Self {
        let (protocol, first) = AppServer::start(Instant::now());
        let mut link = Self {
            stdin: pipes.stdin,
            stdout: pipes.stdout,
            stderr: Some(pipes.stderr),
            unwritten: VecDeque::new(),
            protocol,
            turns: HashMap::new(),
            cancelled: FuturesUnordered::new(),
            next_key: 0,
            readiness,
        };
        link.carry_out(first);
        link
    }

    /// Serves turns until the child ends or `stop` fires.
    async fn work(
        &mut self,
        orders: &mut mpsc::Receiver<Order>,
        stop: &CancellationToken,
    ) -> Ended {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let ready = self.protocol.state() == State::Ready;
            let done = tokio::select! {
                () = stop.cancelled() => Err(Ended::Stopped),
                line = self.stdout.next() => self.on_line(line),
                written = write_some(&mut self.stdin, &mut self.unwritten), if !self.unwritten.is_empty() => written,
                line = next_of(&mut self.stderr) => self.on_stderr(line),
                Some(key) = self.cancelled.next() => self.on_cancelled(key),
                Some(order) = orders.recv(), if ready => self.begin(order),
                now = tick.tick() => self.on_tick(now),
            };
            if let Err(ended) = done {
                return ended;
            }
        }
    }

    /// Interrupts what runs, and gives the child a moment to say that it has ended.
    async fn interrupt_all(&mut self) {
        let keys: Vec<_> = self.turns.keys().copied().collect();
        for key in keys {
            let step = self.protocol.interrupt(key);
            self.carry_out(step);
        }
        let ending = async {
            while !self.turns.is_empty() {
                let done = tokio::select! {
                    line = self.stdout.next() => self.on_line(line),
                    written = write_some(&mut self.stdin, &mut self.unwritten), if !self.unwritten.is_empty() => written,
                };
                if done.is_err() {
                    return;
                }
            }
        };
        let _grace = timeout(INTERRUPT_GRACE, ending).await;
    }

    fn begin(&mut self, order: Order) -> Result<(), Ended> {
        if order.cancel.is_cancelled() {
            return Ok(());
        }
        let key = TurnKey(self.next_key);
        self.next_key += 1;
        let cancelled = order.cancel.cancelled_owned();
        self.cancelled.push(cancelled.map(move |()| key).boxed());
        self.turns.insert(
            key,
            Held {
                events: order.events,
                _slot: order.slot,
            },
        );
        let step = self.protocol.begin(key, order.request);
        self.carry_out(step);
        Ok(())
    }

    fn on_cancelled(&mut self, key: TurnKey) -> Result<(), Ended> {
        let step = self.protocol.interrupt(key);
        self.carry_out(step);
        Ok(())
    }

    fn on_tick(&mut self, now: Instant) -> Result<(), Ended> {
        let step = self.protocol.tick(now)?;
        self.carry_out(step);
        Ok(())
    }

    fn on_line(&mut self, line: Option<Result<String, LinesCodecError>>) -> Result<(), Ended> {
        let line = line.ok_or(Ended::Closed)??;
        tracing::trace!(line, "codex says");
        let step = self.protocol.read_line(&line)?;
        self.carry_out(step);
        Ok(())
    }

    /// What a child writes for people; it may hold what a client sent, so it is off by default.
    fn on_stderr(&mut self, line: Option<Result<String, LinesCodecError>>) -> Result<(), Ended> {
        match line {
            Some(Ok(line)) => tracing::debug!(line, "codex stderr"),
            Some(Err(LinesCodecError::MaxLineLengthExceeded)) => {
                tracing::debug!("long line on codex stderr left out")
            }
            Some(Err(LinesCodecError::Io(_))) | None => self.stderr = None,
        }
        Ok(())
    }

    fn carry_out(&mut self, step: Step) {
        self.unwritten
            .extend(step.write.into_iter().map(Bytes::from));
        for (key, event) in step.events {
            let too_slow = self
                .turns
                .get(&key)
                .is_some_and(|turn| turn.events.write(event).is_err());
            if too_slow {
                let step = self.protocol.interrupt(key);
                self.unwritten
                    .extend(step.write.into_iter().map(Bytes::from));
            }
        }
        for key in step.closed {
            self.turns.remove(&key);
        }
        let readiness = Readiness::from(self.protocol.state());
        self.readiness.send_if_modified(|current| {
            let modified = *current != readiness;
            *current = readiness;
            modified
        });
    }
}

impl From<State> for Readiness {
    fn from(state: State) -> Self {
        match state {
            State::Starting => Self::Starting,
            State::Ready => Self::Ready,
            State::LoginRequired => Self::LoginRequired,
        }
    }
}

/// Writes as much as the pipe takes. May be dropped before it is ready: what is written is taken off the queue.
async fn write_some(stdin: &mut ChildStdin, unwritten: &mut VecDeque<Bytes>) -> Result<(), Ended> {
    let Some(front) = unwritten.front_mut() else {
        return Ok(());
    };
    let written = stdin.write(front).await.map_err(Ended::Write)?;
    front.advance(written);
    if front.is_empty() {
        unwritten.pop_front();
    }
    Ok(())
}

async fn next_of<R: AsyncRead + Unpin>(
    lines: &mut Option<Lines<R>>,
) -> Option<Result<String, LinesCodecError>> {
    match lines {
        Some(lines) => lines.next().await,
        None => std::future::pending().await,
    }
}
