//! The task of one `codex proto` child: start ahead of time, wait for a turn, serve the turn, exit.
//! On every path the child is stopped and reaped before the turn's permit is released; the child's home is removed with
//! it.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::process::ChildStdout;
use tokio::sync::mpsc;
use tokio::task::Id;
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::codec::LinesCodecError;
use tokio_util::sync::CancellationToken;
use tracing::{Instrument, Span, info_span};

use super::home::ChildHome;
use super::session::{ProtoError, ProtoOutput, ProtoPhase, ProtoSession};
use super::{command_line, confine};
use crate::codex::launch::Launch;
use crate::codex::protocol_log::ConnectionLog;
use crate::codex::rate_limits::SharedRateLimits;
use crate::codex::turn_queue::{QueuedTurn, TurnQueue};
use crate::error_chain;
use crate::process::{ChildEnd, ChildProcess, Lines, Pipes, Stderr, Stdin};
use crate::turn::{Event, EventWriter, Outcome, TurnError, TurnRequest};

/// Longest wait for a turn. A child reads its credential only at its start, and that of a ChatGPT plan is renewed from
/// time to time.
const MAX_IDLE: Duration = Duration::from_secs(10 * 60);

/// Time that the child has to read the shutdown line. A child reads at once unless it hangs.
const SHUTDOWN_WRITE_TIMEOUT: Duration = Duration::from_millis(500);

/// A report of a child to its pool.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChildReport {
    /// The handshake is complete.
    Ready,
    /// The child has taken a turn.
    TurnTaken,
}

/// The reason of a regular exit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum ChildExit {
    /// The turn is over, with any outcome.
    Served,
    /// The child waited for [`MAX_IDLE`] without a turn.
    Idle,
    /// The pool is stopped.
    Stopped,
}

/// A failure of a child before it took a turn, with everything that its log line says.
#[derive(Debug)]
pub(super) struct FailedChild {
    pub(super) failure: ChildFailure,
    /// `None` for a child that was not started.
    pub(super) end: Option<ChildEnd>,
    /// The span of the child.
    pub(super) span: Span,
}

/// The reason of the end of a child before it took a turn.
#[derive(Debug, thiserror::Error)]
pub(super) enum ChildFailure {
    #[error("the child cannot be started")]
    Spawn(#[source] io::Error),
    #[error("the child ended before it was ready")]
    Handshake(#[source] ProtoConnectionError),
    #[error("the child ended while it waited for a turn")]
    Waiting(#[source] ProtoConnectionError),
}

/// A failure of the connection to a child.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProtoConnectionError {
    #[error("the child closed its stdout")]
    Closed,
    #[error("a line of the child cannot be read")]
    Line(#[from] LinesCodecError),
    #[error("the child's stdin cannot be written to")]
    Write(#[source] io::Error),
    #[error("the child violated the protocol")]
    Protocol(#[from] ProtoError),
}

/// The template of a child's task. The pool clones one for each child.
#[derive(Debug, Clone)]
pub(super) struct ChildTask {
    pub(super) launch: Arc<Launch>,
    pub(super) rate_limits: SharedRateLimits,
    /// Whether Codex's own instructions stay.
    pub(super) own_instructions: bool,
    /// Shared by all children: the first ready one takes the next turn.
    pub(super) turns: TurnQueue,
    pub(super) reports: mpsc::Sender<(Id, ChildReport)>,
    pub(super) stop: CancellationToken,
}

impl FailedChild {
    fn not_started(error: io::Error) -> Self {
        Self {
            failure: ChildFailure::Spawn(error),
            end: None,
            span: Span::current(),
        }
    }
}

impl ChildTask {
    /// Starts a child, and runs until the child is reaped.
    ///
    /// # Errors
    /// The child failed before it took a turn.
    pub(super) async fn run(self) -> Result<ChildExit, FailedChild> {
        let launch = &self.launch;
        let home = ChildHome::create(launch).map_err(FailedChild::not_started)?;
        let instructions = (!self.own_instructions).then(|| home.instructions());
        let arguments =
            command_line::arguments(launch.provider_settings(), instructions.as_deref());
        let mut program = launch.program(arguments);
        // Appended: of two variables with one name the child gets the later, which is its own home's.
        program.environment.extend(home.environment());
        let (child, pipes, _parent) = confine::spawn(program, home.allowed_paths())
            .await
            .map_err(FailedChild::not_started)?;
        let _registration = launch.registry().register(child.pid());
        let span = info_span!("child", pid = child.pid());
        self.supervise(child, pipes).instrument(span).await
    }

    async fn supervise(
        &self,
        mut child: ChildProcess,
        pipes: Pipes,
    ) -> Result<ChildExit, FailedChild> {
        let directory = self.launch.work_dir().to_string_lossy().into_owned();
        let mut connection = ProtoConnection::new(
            pipes,
            self.launch.protocol_log().connection(child.pid()),
            ProtoSession::start(directory, self.rate_limits.clone(), Instant::now()),
        );
        match self.wait(&mut connection).await {
            Ok(WaitResult::Turn(turn)) => {
                let QueuedTurn {
                    request,
                    events,
                    cancel,
                    permit,
                    ..
                } = *turn;
                let served = connection
                    .serve(request, &events, &cancel, &self.stop)
                    .await;
                if let Err(error) = served {
                    let end = connection.end_of(&mut child, true).await;
                    tracing::error!(
                        error = error_chain(&error),
                        status = end.status_text(),
                        stderr = end.last_words,
                        "codex child ended during its turn"
                    );
                }
                connection.close(child).await;
                // After the child is reaped: the permit also bounds the number of processes.
                drop(permit);
                Ok(ChildExit::Served)
            }
            Ok(WaitResult::Exit(exit)) => {
                connection.close(child).await;
                Ok(exit)
            }
            Err(failure) => {
                let end = connection.end_of(&mut child, false).await;
                connection.close(child).await;
                Err(FailedChild {
                    failure,
                    end: Some(end),
                    span: Span::current(),
                })
            }
        }
    }

    /// Waits for the handshake, then for a turn.
    async fn wait(&self, connection: &mut ProtoConnection) -> Result<WaitResult, ChildFailure> {
        while connection.session.phase() != ProtoPhase::Ready {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(WaitResult::Exit(ChildExit::Stopped)),
                step = connection.step() => step.map_err(ChildFailure::Handshake)?,
            };
        }
        self.report(ChildReport::Ready).await;
        let idle_until = Instant::now() + MAX_IDLE;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(WaitResult::Exit(ChildExit::Stopped)),
                () = sleep_until(idle_until) => return Ok(WaitResult::Exit(ChildExit::Idle)),
                // A turn without a client must not use up the child.
                Ok(turn) = self.turns.recv() => if !turn.cancel.is_cancelled() {
                    self.report(ChildReport::TurnTaken).await;
                    return Ok(WaitResult::Turn(Box::new(turn)));
                },
                step = connection.step() => drop(step.map_err(ChildFailure::Waiting)?),
            }
        }
    }

    async fn report(&self, report: ChildReport) {
        // Fails once the pool has stopped reading.
        self.reports.send((tokio::task::id(), report)).await.ok();
    }
}

/// The end of a child's wait.
enum WaitResult {
    Turn(Box<QueuedTurn>),
    Exit(ChildExit),
}

/// The pipes and the session of a running child.
struct ProtoConnection {
    stdin: Stdin,
    stdout: Lines<ChildStdout>,
    stderr: Stderr,
    log: ConnectionLog,
    session: ProtoSession,
}

impl ProtoConnection {
    fn new(pipes: Pipes, log: ConnectionLog, session: ProtoSession) -> Self {
        Self {
            stdin: pipes.stdin,
            stdout: pipes.stdout,
            stderr: pipes.stderr,
            log,
            session,
        }
    }

    /// Handles the next event of the child. Cancel safe: lines stay in their buffers.
    async fn step(&mut self) -> Result<Vec<Event>, ProtoConnectionError> {
        let deadline = self.session.deadline();
        tokio::select! {
            line = self.stdout.next() => {
                let line = line.ok_or(ProtoConnectionError::Closed)??;
                tracing::trace!(line, "codex line received");
                self.log.received(line.as_bytes());
                let output = self.session.read_line(&line)?;
                Ok(self.apply(output))
            }
            written = self.stdin.write() => {
                written.map_err(ProtoConnectionError::Write)?;
                Ok(Vec::new())
            }
            () = self.stderr.log() => Ok(Vec::new()),
            error = missed(deadline) => Err(error.into()),
        }
    }

    fn apply(&mut self, output: ProtoOutput) -> Vec<Event> {
        for line in output.write {
            self.log.sent(&line);
            self.stdin.push(line);
        }
        output.events
    }

    /// Serves one turn until it is over, its client disconnects, or the pool is stopped.
    ///
    /// # Errors
    /// The child failed. The client has been told.
    async fn serve(
        &mut self,
        request: TurnRequest,
        events: &EventWriter,
        cancel: &CancellationToken,
        stop: &CancellationToken,
    ) -> Result<(), ProtoConnectionError> {
        let output = self.session.begin(&request, Instant::now());
        // A long conversation must not stay in memory for the length of the turn. Its line does until the child has read
        // it, so the reservation ends with the first event.
        let mut memory = request.memory.clone();
        drop(request);
        self.apply(output);
        while self.session.phase() != ProtoPhase::Over {
            let step = tokio::select! {
                () = cancel.cancelled() => return Ok(()),
                () = stop.cancelled() => Ok(vec![Event::Finished(Outcome::Interrupted)]),
                step = self.step() => step,
            };
            let new_events = match step {
                Ok(new_events) => new_events,
                Err(error) => {
                    let failed = Event::Finished(Outcome::Failed((&error).into()));
                    events.write(failed).ok(); // Fails only for a slow reader, and that turn has failed already.
                    return Err(error);
                }
            };
            for event in new_events {
                memory.release();
                let is_last = matches!(event, Event::Finished(_));
                if events.write(event).is_err() || is_last {
                    return Ok(());
                }
            }
        }
        Ok(())
    }

    /// Waits for the end of a child that has failed.
    async fn end_of(&mut self, child: &mut ChildProcess, had_turn: bool) -> ChildEnd {
        ChildEnd {
            status: child.exit_status().await,
            last_words: self.stderr.last_words(had_turn).await,
        }
    }

    /// Stops the child. On the shutdown line the child aborts its turn, drops the model's request and
    /// exits within milliseconds.
    async fn close(mut self, child: ChildProcess) {
        self.stdin.push(ProtoSession::shutdown());
        // A child that does not read, or has exited, is stopped below.
        let _ = timeout(SHUTDOWN_WRITE_TIMEOUT, self.stdin.write_all()).await;
        drop(self.stdin);
        // The pipes are drained meanwhile: a child that blocks on a full pipe cannot exit.
        let stopped = tokio::select! {
            stopped = child.stop() => stopped,
            never = drain_pipes(&mut self.stdout, &mut self.stderr) => match never {},
        };
        match stopped {
            Ok(status) => tracing::debug!(%status, "codex child reaped"),
            Err(error) => tracing::error!(%error, "codex child wait failed"),
        }
    }
}

impl From<&ProtoConnectionError> for TurnError {
    fn from(error: &ProtoConnectionError) -> Self {
        match error {
            ProtoConnectionError::Closed
            | ProtoConnectionError::Line(_)
            | ProtoConnectionError::Write(_) => Self::ChildExited,
            ProtoConnectionError::Protocol(_) => Self::Protocol,
        }
    }
}

/// Reads and discards the output of an exiting child.
async fn drain_pipes(stdout: &mut Lines<ChildStdout>, stderr: &mut Stderr) -> Infallible {
    let mut is_open = true;
    loop {
        tokio::select! {
            // Guarded: a closed pipe is ready at once, for ever.
            line = stdout.next(), if is_open => is_open = matches!(line, Some(Ok(_))),
            () = stderr.log() => {}
        }
    }
}

/// Waits until the deadline is missed, and returns its error; pending for ever without a deadline.
async fn missed(deadline: Option<(Instant, ProtoError)>) -> ProtoError {
    match deadline {
        Some((at, error)) => {
            sleep_until(at).await;
            error
        }
        None => std::future::pending().await,
    }
}
