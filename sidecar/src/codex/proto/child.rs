//! The life of one child: started ahead, it waits for a turn, serves it, and ends with it.
//! Whatever happens, the child is told to end and reaped before its slot is free again; its home goes with it.

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
use tracing::{Instrument, info_span};

use super::home::ChildHome;
use super::session::{Phase, Proto, ProtocolError, Step};
use super::{command_line, confine};
use crate::codex::launch::Launch;
use crate::codex::protocol_log::ProtocolTap;
use crate::codex::rate_limits::SharedRateLimits;
use crate::codex::turn_queue::{QueuedTurn, TurnQueue};
use crate::error_chain;
use crate::process::{ChildProcess, Lines, Pipes, Stderr, Stdin};
use crate::turn::{Event, EventWriter, Outcome, TurnError, TurnRequest};

/// Longest wait for a turn. A child reads its credential when it starts; that of a plan is renewed now and then.
const MAX_IDLE: Duration = Duration::from_secs(10 * 60);

/// Time that the child has to read that it shall end; it reads at once unless it hangs.
const SHUTDOWN_DEADLINE: Duration = Duration::from_millis(500);

/// What the pool learns of a child while it lives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Note {
    /// It has completed its handshake.
    Ready,
    /// It has a turn, and is nobody else's any more.
    Taken,
}

/// Why a child has ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Its turn is over, well or not.
    Served,
    /// It waited for too long.
    Retired,
    /// We end.
    Stopped,
}

/// Why a child ended by itself, or had to be ended.
#[derive(Debug, thiserror::Error)]
pub(super) enum Broken {
    #[error("the child cannot be started")]
    Spawn(#[source] io::Error),
    #[error("the child ended before it was ready")]
    Start(#[source] Fault),
    #[error("the child ended while it waited for a turn")]
    Wait(#[source] Fault),
}

/// What went wrong between us and the child.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error("it closed its stdout")]
    Closed,
    #[error("a line of it cannot be read")]
    Line(#[from] LinesCodecError),
    #[error("it does not read")]
    Write(#[source] io::Error),
    #[error("it broke its protocol")]
    Protocol(#[from] ProtocolError),
}

/// What a child is started from, and whom it serves.
#[derive(Debug, Clone)]
pub(super) struct Starter {
    pub(super) launch: Arc<Launch>,
    pub(super) plan: SharedRateLimits,
    /// Whether Codex's own instructions stay.
    pub(super) own_instructions: bool,
    /// Shared by all children: whoever is ready takes the next one.
    pub(super) orders: TurnQueue,
    pub(super) notes: mpsc::Sender<(Id, Note)>,
    pub(super) stop: CancellationToken,
}

impl Starter {
    /// Starts a child and stays with it until it is gone.
    ///
    /// # Errors
    /// It did not live to take a turn.
    pub(super) async fn live(self) -> Result<End, Broken> {
        let launch = &self.launch;
        let home = ChildHome::make(launch.private_dir(), launch.home());
        let home = home.map_err(Broken::Spawn)?;
        let instructions = (!self.own_instructions).then(|| home.instructions());
        let arguments =
            command_line::arguments(launch.provider_settings(), instructions.as_deref());
        let mut program = launch.program(arguments);
        program.environment.extend(home.environment());
        let spawned = confine::spawn(program, home.reach()).await;
        let (child, pipes, _parent) = spawned.map_err(Broken::Spawn)?;
        let _entered = launch.registry().register(child.pid());
        let span = info_span!("child", pid = child.pid());
        self.attend(child, pipes).instrument(span).await
    }

    async fn attend(&self, child: ChildProcess, pipes: Pipes) -> Result<End, Broken> {
        let directory = self.launch.work_dir().to_string_lossy().into_owned();
        let mut link = Link::new(
            pipes,
            self.launch.protocol_log().on(child.pid()),
            Proto::start(directory, self.plan.clone(), Instant::now()),
        );
        match self.wait(&mut link).await {
            Ok(Waited::QueuedTurn(order)) => {
                let QueuedTurn {
                    request,
                    events,
                    cancel,
                    slot,
                    ..
                } = *order;
                link.serve(request, &events, &cancel, &self.stop).await;
                link.end(child).await;
                drop(slot);
                Ok(End::Served)
            }
            Ok(Waited::End(end)) => {
                link.end(child).await;
                Ok(end)
            }
            Err(broken) => {
                link.end(child).await;
                Err(broken)
            }
        }
    }

    /// Until the child is ready, and then until there is a turn for it.
    async fn wait(&self, link: &mut Link) -> Result<Waited, Broken> {
        while link.protocol.phase() != Phase::Ready {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(Waited::End(End::Stopped)),
                step = link.step() => step.map_err(Broken::Start)?,
            };
        }
        self.note(Note::Ready).await;
        let retirement = Instant::now() + MAX_IDLE;
        loop {
            tokio::select! {
                () = self.stop.cancelled() => return Ok(Waited::End(End::Stopped)),
                () = sleep_until(retirement) => return Ok(Waited::End(End::Retired)),
                Ok(order) = self.orders.recv() => if !order.cancel.is_cancelled() {
                    self.note(Note::Taken).await;
                    return Ok(Waited::QueuedTurn(Box::new(order)));
                },
                step = link.step() => drop(step.map_err(Broken::Wait)?),
            }
        }
    }

    async fn note(&self, note: Note) {
        let _pool_ended = self.notes.send((tokio::task::id(), note)).await;
    }
}

/// What a child has waited for.
enum Waited {
    QueuedTurn(Box<QueuedTurn>),
    End(End),
}

/// The running child: its pipes and its protocol.
struct Link {
    stdin: Stdin,
    stdout: Lines<ChildStdout>,
    stderr: Stderr,
    tap: ProtocolTap,
    protocol: Proto,
}

impl Link {
    fn new(pipes: Pipes, tap: ProtocolTap, protocol: Proto) -> Self {
        Self {
            stdin: pipes.stdin,
            stdout: pipes.stdout,
            stderr: pipes.stderr,
            tap,
            protocol,
        }
    }

    /// One thing that the child says or takes. May be dropped before it is ready: nothing is lost.
    async fn step(&mut self) -> Result<Vec<Event>, Fault> {
        let deadline = self.protocol.deadline();
        tokio::select! {
            line = self.stdout.next() => {
                let line = line.ok_or(Fault::Closed)??;
                tracing::trace!(line, "codex says");
                self.tap.heard(line.as_bytes());
                let step = self.protocol.read_line(&line)?;
                Ok(self.carry_out(step))
            }
            written = self.stdin.write() => {
                written.map_err(Fault::Write)?;
                Ok(Vec::new())
            }
            () = self.stderr.log() => Ok(Vec::new()),
            error = passed(deadline) => Err(error.into()),
        }
    }

    fn carry_out(&mut self, step: Step) -> Vec<Event> {
        for line in step.write {
            self.tap.told(&line);
            self.stdin.push(line);
        }
        step.events
    }

    /// One turn, until the child has ended it, or its client or we want no more of it.
    async fn serve(
        &mut self,
        request: TurnRequest,
        events: &EventWriter,
        cancel: &CancellationToken,
        stop: &CancellationToken,
    ) {
        let step = self.protocol.begin(&request, Instant::now());
        drop(request); // The child has it now.
        self.carry_out(step);
        while self.protocol.phase() != Phase::Over {
            let step = tokio::select! {
                () = cancel.cancelled() => return,
                () = stop.cancelled() => Ok(vec![Event::Finished(Outcome::Interrupted)]),
                step = self.step() => step,
            };
            let happened = step.unwrap_or_else(|fault| {
                tracing::error!(
                    error = error_chain(&fault),
                    "codex child broke off its turn"
                );
                vec![Event::Finished(Outcome::Failed(fault.into()))]
            });
            for event in happened {
                let over = matches!(event, Event::Finished(_));
                if events.write(event).is_err() || over {
                    return;
                }
            }
        }
    }

    /// Ends the child: it aborts its turn, drops the model's request and exits within milliseconds when it is told to.
    async fn end(mut self, child: ChildProcess) {
        self.stdin.push(Proto::shutdown());
        let _deaf_or_gone = timeout(SHUTDOWN_DEADLINE, self.stdin.write_all()).await;
        drop(self.stdin);
        let stopped = tokio::select! {
            stopped = child.stop() => stopped,
            never = drain(&mut self.stdout, &mut self.stderr) => match never {},
        };
        match stopped {
            Ok(status) => tracing::debug!(%status, "codex child reaped"),
            Err(error) => tracing::error!(%error, "codex child cannot be waited for"),
        }
    }
}

impl From<Fault> for TurnError {
    fn from(fault: Fault) -> Self {
        match fault {
            Fault::Closed | Fault::Line(_) | Fault::Write(_) => Self::ChildExited,
            Fault::Protocol(_) => Self::Protocol,
        }
    }
}

/// A child that cannot write cannot end, so that all is read until it is gone.
async fn drain(stdout: &mut Lines<ChildStdout>, stderr: &mut Stderr) -> Infallible {
    let mut open = true;
    loop {
        tokio::select! {
            line = stdout.next(), if open => open = matches!(line, Some(Ok(_))),
            () = stderr.log() => {}
        }
    }
}

async fn passed(deadline: Option<(Instant, ProtocolError)>) -> ProtocolError {
    match deadline {
        Some((at, error)) => {
            sleep_until(at).await;
            error
        }
        None => std::future::pending().await,
    }
}
