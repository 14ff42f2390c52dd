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
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};
use tokio_util::codec::LinesCodecError;
use tokio_util::sync::CancellationToken;

use super::admission::TurnPermit;
use super::app_server::{
    AppServerError, AppServerSession, Continuation, KeptThread, SessionOutput, SessionState,
    TurnKey,
};
use super::conversation::ChildConversations;
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

/// Time between two looks at a rollout file for the end of a response, which Codex writes at once.
const ROLLOUT_POLL: Duration = Duration::from_millis(10);

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
    /// `None` for a child without rebuilt threads.
    conversations: Option<ChildConversations>,
    /// Turns that wait for the end of the child's proof.
    held: Vec<QueuedTurn>,
    rollout_poll: Interval,
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
        conversations: Option<ChildConversations>,
        warm: Option<(WarmChild, ContinuingTurns)>,
    ) -> Self {
        let mut rollout_poll = interval(ROLLOUT_POLL);
        rollout_poll.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut session, first) = AppServerSession::start(rate_limits, Instant::now());
        if let Some((warm, _)) = &warm {
            session.keep_threads();
            session.start_threads_ahead(warm.threads_ahead());
        }
        let mut connection = Self {
            stdin: pipes.stdin,
            stdout: pipes.stdout,
            stderr: pipes.stderr,
            log,
            session,
            turns: HashMap::new(),
            conversations,
            held: Vec::new(),
            rollout_poll,
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
        !self.turns.is_empty() || !self.held.is_empty()
    }

    /// Returns the number of turns begun on this child.
    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    /// Returns the line of the child's stderr that names the reason of its end.
    pub(super) async fn last_words(&mut self) -> Option<String> {
        self.stderr.last_words(self.begun > 0).await
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
            line = next_of_proof(&mut self.conversations) => {
                self.on_proof_line(line);
                Ok(())
            }
            _now = self.rollout_poll.tick(), if self.awaits_rollout() => {
                self.read_awaited_rollouts()
            }
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
        let conversations = self.conversations.as_ref();
        if queued.continuation.is_none()
            && conversations.is_some_and(|all| all.holds(&queued.client, &queued.request))
        {
            self.held.push(queued);
            return;
        }
        if queued.is_served_elsewhere
            && let Some(conversations) = conversations
        {
            conversations.forget_session(&queued.client, &queued.request);
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
        let (client, workspace) = (&queued.client, queued.workspace.as_ref());
        let (origin, output) = match queued.continuation {
            Some(continuation) => {
                self.continue_thread(key, client, queued.request, continuation, workspace)
            }
            None => self.begin_thread(key, client, queued.request, workspace),
        };
        if let Some(origin) = origin {
            queued.events.set_origin(origin);
        }
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

    /// Begins a turn on a thread of its own: a rebuilt one, if the conversation has had one.
    fn begin_thread(
        &mut self,
        key: TurnKey,
        client: &str,
        request: TurnRequest,
        workspace: Option<&Workspace>,
    ) -> (Option<ThreadOrigin>, SessionOutput) {
        let conversations = self.conversations.as_mut();
        match conversations.and_then(|all| all.begin(key, client, &request)) {
            // The origin is known once Codex has accepted the thread.
            Some(rebuilt) => (None, self.session.begin_rebuilt(key, request, rebuilt)),
            None => {
                let output = self.session.begin(key, request, workspace);
                (Some(ThreadOrigin::New), output)
            }
        }
    }

    /// Begins a turn on the thread of an earlier one, or on a thread of its own if the session has given the former up.
    fn continue_thread(
        &mut self,
        key: TurnKey,
        client: &str,
        request: TurnRequest,
        continuation: Continuation,
        workspace: Option<&Workspace>,
    ) -> (Option<ThreadOrigin>, SessionOutput) {
        let earlier = continuation.thread;
        let begun = match self.session.continue_thread(key, request, continuation) {
            Ok(output) => {
                if let Some(conversations) = &mut self.conversations {
                    conversations.on_continued(earlier, key);
                }
                (Some(ThreadOrigin::Warm), output)
            }
            Err(request) => self.begin_thread(key, client, request, workspace),
        };
        if let Some((warm, _)) = &self.warm {
            warm.count(begun.0 == Some(ThreadOrigin::Warm));
        }
        begun
    }

    /// Interrupts all turns, and waits a grace period for them to complete.
    pub(super) async fn interrupt_all(&mut self) {
        for queued in self.held.drain(..) {
            // Fails only for a slow reader, and that turn has failed already.
            let interrupted = Event::Finished(Outcome::Interrupted);
            queued.events.write(interrupted).ok();
        }
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
        let mut unasked = std::mem::take(&mut self.held);
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
                is_served_elsewhere: false,
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
        if let Some(conversations) = &mut self.conversations {
            if conversations.takes(&line) {
                return Ok(());
            }
            if conversations.has_rollouts()
                && let Some(key) = self.session.rollout_before(&line)
            {
                self.read_rollout(key)?;
            }
        }
        let output = self.session.read_line(&line)?;
        self.apply(output);
        Ok(())
    }

    /// Sends a line of the proof. At the end of the proof, which has an empty one, the turns begin that waited for it.
    fn on_proof_line(&mut self, line: Vec<u8>) {
        if !line.is_empty() {
            self.write(vec![line]);
            return;
        }
        for turn in std::mem::take(&mut self.held) {
            self.begin(turn);
        }
    }

    fn awaits_rollout(&self) -> bool {
        let conversations = self.conversations.as_ref();
        conversations.is_some_and(ChildConversations::has_rollouts)
            && !self.session.awaited_rollouts().is_empty()
    }

    fn read_awaited_rollouts(&mut self) -> Result<(), ConnectionError> {
        for key in self.session.awaited_rollouts() {
            self.read_rollout(key)?;
        }
        Ok(())
    }

    /// Hands the session what Codex has added to the rollout file of a turn.
    fn read_rollout(&mut self, key: TurnKey) -> Result<(), ConnectionError> {
        if let Some(conversations) = &mut self.conversations {
            let lines = conversations.read_rollout(key);
            let output = self.session.read_rollout(key, &lines)?;
            self.apply(output);
        }
        Ok(())
    }

    fn apply_to_conversations(&mut self, output: &mut SessionOutput) {
        let Some(conversations) = &mut self.conversations else {
            return;
        };
        for (key, thread) in output.started.drain(..) {
            conversations.on_started(key, thread);
        }
        for (key, accepted) in output.rebuilt.drain(..) {
            conversations.on_rebuilt(key, accepted);
            if let Some(turn) = self.turns.get(&key) {
                turn.events.set_origin(if accepted {
                    ThreadOrigin::Resumed
                } else {
                    ThreadOrigin::New
                });
            }
        }
        for key in output.injected.drain(..) {
            conversations.on_injected(key);
        }
        for key in &output.closed {
            conversations.on_closed(*key);
        }
        if self.session.state() == SessionState::Ready {
            conversations.prove();
        }
    }

    fn apply(&mut self, mut output: SessionOutput) {
        self.apply_to_conversations(&mut output);
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

/// Returns the next line of the proof of a child. Cancel safe.
async fn next_of_proof(conversations: &mut Option<ChildConversations>) -> Vec<u8> {
    match conversations {
        Some(conversations) => conversations.next_line().await,
        None => pending().await,
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
