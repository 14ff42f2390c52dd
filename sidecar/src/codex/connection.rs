//! The connection to a running app-server child: moves lines between its pipes and the session, and events to the
//! turns.

use std::collections::HashMap;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::process::ChildStdout;
use tokio::sync::watch;
use tokio::time::{Instant, timeout};
use tokio_util::codec::LinesCodecError;
use tokio_util::sync::CancellationToken;

use super::admission::TurnPermit;
use super::app_server::{
    AppServerError, AppServerSession, Continuation, KeptThread, SessionOutput, SessionState,
    TurnKey,
};
use super::launch::sandbox::Workspace;
use super::protocol_log::ConnectionLog;
use super::rate_limits::SharedRateLimits;
use super::readiness::Readiness;
use super::turn_queue::QueuedTurn;
use super::warm::{ContinuingTurns, WarmChild};
use crate::process::{Lines, Pipes, Stderr, Stdin};
use crate::turn::{Event, EventWriter, Outcome, ThreadOrigin, TurnError, TurnRequest};

/// Grace period in which interrupted turns may complete when the worker stops.
const INTERRUPT_GRACE: Duration = Duration::from_secs(2);

/// A failure after which the child cannot serve turns any longer.
#[derive(Debug, thiserror::Error)]
pub(super) enum ConnectionError {
    #[error("the child closed its stdout")]
    Closed,
    #[error("a line of the child cannot be read")]
    Line(#[from] LinesCodecError),
    #[error("the child's stdin cannot be written to")]
    Write(#[source] std::io::Error),
    #[error("the child violated the protocol")]
    Protocol(#[from] AppServerError),
}

/// The pipes and the session of a running child, and its active turns.
pub(super) struct ChildConnection {
    stdin: Stdin,
    stdout: Lines<ChildStdout>,
    stderr: Stderr,
    log: ConnectionLog,
    session: AppServerSession,
    turns: HashMap<TurnKey, ActiveTurn>,
    /// A future per turn, ready when the turn is cancelled: its client disconnected, or a deadline passed; with the error
    /// if an agent has exceeded a limit.
    cancelled: FuturesUnordered<BoxFuture<'static, (TurnKey, Option<TurnError>)>>,
    /// Number of turns begun on this child, and the key of the next one.
    begun: u64,
    /// Time of the last line from the child.
    last_activity: Instant,
    /// `None` once a successor publishes the worker's readiness.
    readiness: Option<watch::Sender<Readiness>>,
    /// The threads that stay loaded, and the turns that continue them; `None` if none does.
    warm: Option<(WarmChild, ContinuingTurns)>,
}

/// The resources of a turn, held while the child keeps state of the turn. They are released when the session closes it.
struct ActiveTurn {
    client: Arc<str>,
    events: EventWriter,
    cancel: CancellationToken,
    permit: TurnPermit,
    workspace: Option<Workspace>,
    is_second_try: bool,
}

impl ChildConnection {
    pub(super) fn new(
        pipes: Pipes,
        log: ConnectionLog,
        rate_limits: SharedRateLimits,
        readiness: watch::Sender<Readiness>,
        warm: Option<(WarmChild, ContinuingTurns)>,
    ) -> Self {
        let (mut session, first) = AppServerSession::start(rate_limits, Instant::now());
        if warm.is_some() {
            session.keep_threads();
        }
        let mut connection = Self {
            stdin: pipes.stdin,
            stdout: pipes.stdout,
            stderr: pipes.stderr,
            log,
            session,
            turns: HashMap::new(),
            cancelled: FuturesUnordered::new(),
            begun: 0,
            last_activity: Instant::now(),
            readiness: Some(readiness),
            warm,
        };
        connection.apply(first);
        connection
    }

    /// Whether turns may begin.
    pub(super) fn is_ready(&self) -> bool {
        self.session.state() == SessionState::Ready
    }

    /// Whether the child still has active turns.
    pub(super) fn has_turns(&self) -> bool {
        !self.turns.is_empty()
    }

    /// Returns the number of turns begun on this child.
    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    /// Returns the number of threads that the child did not end when asked to.
    pub(super) fn stuck_threads(&self) -> usize {
        self.session.stuck_threads()
    }

    /// Returns the time since the last line from the child.
    pub(super) fn silence(&self) -> Duration {
        self.last_activity.elapsed()
    }

    /// Leaves the worker's readiness to the successor of this child.
    pub(super) fn release_readiness(&mut self) {
        self.readiness = None;
    }

    /// Handles the next event of the child or of a client. Cancel safe: lines stay in their buffers.
    ///
    /// # Errors
    /// The child cannot serve turns any longer.
    pub(super) async fn step(&mut self) -> Result<(), ConnectionError> {
        tokio::select! {
            line = self.stdout.next() => self.on_line(line),
            written = self.stdin.write() => written.map_err(ConnectionError::Write),
            () = self.stderr.log() => Ok(()),
            // `next` returns `None` at once while there are no turns; the pattern then disables this branch.
            Some((key, error)) = self.cancelled.next() => {
                self.fail(key, error);
                self.interrupt(key);
                Ok(())
            }
            Some(turn) = next_turn(&mut self.warm) => {
                self.begin(turn);
                Ok(())
            }
        }
    }

    fn give_up(&mut self, thread: TurnKey) {
        let output = self.session.give_up(thread);
        self.apply(output);
    }

    /// Gives up the older half of the threads that stay loaded, to free memory of the child.
    pub(super) fn give_up_older_half(&mut self) {
        let warm = self.warm.as_ref();
        let threads = warm.map(|(warm, _)| warm.take_older_half());
        threads
            .into_iter()
            .flatten()
            .for_each(|thread| self.give_up(thread));
    }

    /// Takes no more turns for the threads that stay loaded, and begins those that were sent already.
    pub(super) fn close_threads(&mut self) {
        for turn in self.take_continuations() {
            self.begin(turn);
        }
    }

    /// Takes the turns that were sent to the threads that stay loaded; later ones do not reach this child.
    pub(super) fn take_continuations(&mut self) -> Vec<QueuedTurn> {
        let Some((_warm, mut turns)) = self.warm.take() else {
            return Vec::new();
        };
        // A turn is either in the channel now, or its sender gets it back.
        turns.close();
        std::iter::from_fn(|| turns.try_recv().ok()).collect()
    }

    /// Begins a queued turn, unless the turn was cancelled in the queue.
    pub(super) fn begin(&mut self, queued: QueuedTurn) {
        if queued.cancel.is_cancelled() {
            return;
        }
        let key = TurnKey(self.begun);
        self.begun += 1;
        let cancelled = queued.cancel.clone().cancelled_owned();
        let exceeded = match &queued.workspace {
            Some(workspace) => workspace.exceeded().boxed(),
            None => pending().boxed(),
        };
        let cancelled = async move {
            tokio::select! {
                () = cancelled => (key, None),
                error = exceeded => (key, Some(error)),
            }
        };
        self.cancelled.push(cancelled.boxed());
        let (origin, output) = match queued.continuation {
            Some(continuation) => {
                self.continue_thread(key, queued.request, continuation, queued.workspace.as_ref())
            }
            None => {
                let workspace = queued.workspace.as_ref();
                let output = self.session.begin(key, queued.request, workspace);
                (ThreadOrigin::New, output)
            }
        };
        queued.events.set_origin(origin);
        let turn = ActiveTurn {
            client: queued.client,
            events: queued.events,
            cancel: queued.cancel,
            permit: queued.permit,
            workspace: queued.workspace,
            is_second_try: queued.is_second_try,
        };
        // Before `apply`, which looks up the turn of each event.
        self.turns.insert(key, turn);
        self.apply(output);
    }

    /// Begins a turn on the thread of an earlier one, or on a thread of its own if the session has given the former up.
    fn continue_thread(
        &mut self,
        key: TurnKey,
        request: TurnRequest,
        continuation: Continuation,
        workspace: Option<&Workspace>,
    ) -> (ThreadOrigin, SessionOutput) {
        let begun = match self.session.continue_thread(key, request, continuation) {
            Ok(output) => (ThreadOrigin::Warm, output),
            Err(request) => {
                let output = self.session.begin(key, request, workspace);
                (ThreadOrigin::New, output)
            }
        };
        if let Some((warm, _)) = &self.warm {
            warm.count(begun.0);
        }
        begun
    }

    /// Interrupts all turns, and waits a grace period for them to complete.
    pub(super) async fn interrupt_all(&mut self) {
        let keys: Vec<_> = self.turns.keys().copied().collect();
        for key in keys {
            self.interrupt(key);
        }
        let completed = async { while self.has_turns() && self.step().await.is_ok() {} };
        let _ = timeout(INTERRUPT_GRACE, completed).await; // The rest fails when the connection is dropped.
    }

    /// Fails the turn with the large images that the child was decoding, and takes the turns that may begin again on another
    /// child: the model has not been asked for them, and no child has ended with them before. Called when this child has
    /// ended. `error` is the failure of the former, if the child ended because of it.
    pub(super) fn take_unasked(&mut self, error: Option<TurnError>) -> Vec<QueuedTurn> {
        let decoding = self.session.decoding().zip(error);
        if let Some((key, error)) = decoding {
            self.fail(key, Some(error));
            self.turns.remove(&key);
        }
        let mut unasked = Vec::new();
        for (key, request) in self.session.take_unasked() {
            let turn = self.turns.remove(&key).filter(|turn| !turn.is_second_try);
            unasked.extend(turn.map(|turn| QueuedTurn {
                client: turn.client,
                request,
                continuation: None,
                events: turn.events,
                cancel: turn.cancel,
                permit: turn.permit,
                workspace: turn.workspace,
                is_second_try: true,
            }));
        }
        unasked
    }

    /// Advances the session's clock.
    ///
    /// # Errors
    /// The child cannot serve turns any longer.
    pub(super) fn on_tick(&mut self, now: Instant) -> Result<(), ConnectionError> {
        let output = self.session.tick(now)?;
        self.apply(output);
        let warm = self.warm.as_ref();
        let given_up = warm.map(|(warm, _)| warm.take_given_up(now));
        given_up
            .into_iter()
            .flatten()
            .for_each(|thread| self.give_up(thread));
        Ok(())
    }

    /// Tells the client of a turn the error that ends it.
    fn fail(&self, key: TurnKey, error: Option<TurnError>) {
        if let (Some(turn), Some(error)) = (self.turns.get(&key), error) {
            // Fails only for a slow reader, and that turn has failed already.
            turn.events
                .write(Event::Finished(Outcome::Failed(error)))
                .ok();
        }
    }

    fn interrupt(&mut self, key: TurnKey) {
        let output = self.session.interrupt(key);
        self.apply(output);
    }

    fn on_line(
        &mut self,
        line: Option<Result<String, LinesCodecError>>,
    ) -> Result<(), ConnectionError> {
        let line = line.ok_or(ConnectionError::Closed)??;
        self.last_activity = Instant::now();
        tracing::trace!(line, "codex line received");
        self.log.received(line.as_bytes());
        let output = self.session.read_line(&line)?;
        self.apply(output);
        Ok(())
    }

    fn apply(&mut self, output: SessionOutput) {
        self.write(output.write);
        // Before the events: the client may send its next request as soon as it has the last one.
        let kept: Vec<_> = output.kept.iter().map(|thread| thread.key).collect();
        for thread in output.kept {
            self.keep(thread);
        }
        for (key, event) in output.events {
            let is_too_slow = self
                .turns
                .get(&key)
                .is_some_and(|turn| turn.events.write(event).is_err());
            if is_too_slow {
                // Not `self.interrupt`: an interrupt has no events, so `apply` need not call itself.
                let output = self.session.interrupt(key);
                self.write(output.write);
            }
        }
        // After the events, which include the last ones of the turns that are closed here.
        for key in kept {
            self.turns.remove(&key);
        }
        for key in output.closed {
            self.turns.remove(&key);
            if let Some((warm, _)) = &self.warm {
                warm.remove(key);
            }
        }
        if let Some(readiness) = &self.readiness {
            publish(readiness, self.session.state());
        }
    }

    /// Keeps a thread for the next request of its client, or gives it up if this child takes no more of them.
    fn keep(&mut self, thread: KeptThread) {
        let turn = self.turns.get(&thread.key);
        match (&self.warm, turn) {
            (Some((warm, _)), Some(turn)) => warm.keep(&turn.client, thread),
            (None, _) | (_, None) => {
                let output = self.session.give_up(thread.key);
                self.write(output.write);
            }
        }
    }

    fn write(&mut self, lines: Vec<Vec<u8>>) {
        for line in lines {
            self.log.sent(&line);
            self.stdin.push(line);
        }
    }
}

/// Returns the next turn that continues a thread; waits for ever where no thread stays loaded.
async fn next_turn(warm: &mut Option<(WarmChild, ContinuingTurns)>) -> Option<QueuedTurn> {
    match warm {
        Some((_, turns)) => turns.recv().await,
        None => pending().await,
    }
}

/// Publishes the readiness of the worker, except while a child starts: after a recycled child the worker stays ready,
/// and turns wait in the queue until the successor has completed its handshake.
fn publish(readiness: &watch::Sender<Readiness>, state: SessionState) {
    let now = match state {
        SessionState::Starting => return,
        SessionState::Ready => Readiness::Ready,
        SessionState::LoginRequired => Readiness::LoginRequired,
    };
    readiness.send_if_modified(|current| std::mem::replace(current, now) != now);
}
