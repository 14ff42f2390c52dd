//! A child protocol without a process and without IO, for the fuzz targets and the instruction counts.

use std::error::Error;
use std::time::Duration;

use tokio::time::Instant;

use super::app_server::{AppServerSession, SessionOutput, SessionState, TurnKey};
use super::launch::Protocol;
use super::proto::{ProtoOutput, ProtoPhase, ProtoSession};
use super::rate_limits::SharedRateLimits;
use crate::turn::{Event, TurnRequest};

/// The sidecar's side of either protocol. The caller plays the child.
#[derive(Debug)]
pub struct ChildHarness {
    now: Instant,
    session: Session,
}

#[derive(Debug)]
enum Session {
    AppServer(Box<AppServerSession>),
    /// With the number of the turn that was begun last.
    Proto(ProtoSession, u64),
}

/// The result of a line, a new turn, an interrupt, or the passing of time.
#[derive(Debug, Default)]
pub struct HarnessOutput {
    /// Lines for the child, with their line breaks.
    pub write: Vec<Vec<u8>>,
    /// Events by the number of the turn.
    pub events: Vec<(u64, Event)>,
    /// Turns that the child has no state of any more.
    pub closed: Vec<u64>,
}

/// A violation of the protocol by the child, which cannot be used any longer.
#[derive(Debug, thiserror::Error)]
#[error("the child violated the protocol")]
pub struct HarnessError(#[source] Box<dyn Error + Send + Sync>);

impl ChildHarness {
    /// Starts a session, and returns the output that a new child receives.
    pub fn start(protocol: Protocol) -> (Self, HarnessOutput) {
        let now = Instant::now();
        let (session, first) = match protocol {
            Protocol::AppServer => {
                let (session, output) = AppServerSession::start(SharedRateLimits::default(), now);
                (Session::AppServer(Box::new(session)), output.into())
            }
            Protocol::Proto => {
                let limits = SharedRateLimits::default();
                let session = ProtoSession::start("/work".to_owned(), limits, now);
                (Session::Proto(session, 0), HarnessOutput::default())
            }
        };
        (Self { now, session }, first)
    }

    /// Whether a turn may begin.
    pub fn is_ready(&self) -> bool {
        match &self.session {
            Session::AppServer(session) => session.state() == SessionState::Ready,
            Session::Proto(session, _) => session.phase() == ProtoPhase::Ready,
        }
    }

    /// Begins a turn with a new number. The session must be ready.
    pub fn begin(&mut self, turn: u64, request: TurnRequest) -> HarnessOutput {
        match &mut self.session {
            Session::AppServer(session) => session.begin(TurnKey(turn), request, None).into(),
            Session::Proto(session, last) => {
                *last = turn;
                of_proto(session.begin(&request, self.now), turn)
            }
        }
    }

    /// Interrupts a turn. `proto` has no interrupt; the sidecar ends such a child with its turn.
    pub fn interrupt(&mut self, turn: u64) -> HarnessOutput {
        match &mut self.session {
            Session::AppServer(session) => session.interrupt(TurnKey(turn)).into(),
            Session::Proto(..) => HarnessOutput::default(),
        }
    }

    /// Reads one line of the child.
    ///
    /// # Errors
    /// The child violated the protocol.
    pub fn read_line(&mut self, line: &str) -> Result<HarnessOutput, HarnessError> {
        match &mut self.session {
            Session::AppServer(session) => {
                session.read_line(line).map(Into::into).map_err(violation)
            }
            Session::Proto(session, turn) => {
                let output = session.read_line(line).map_err(violation)?;
                Ok(of_proto(output, *turn))
            }
        }
    }

    /// Advances the clock by `time`.
    ///
    /// # Errors
    /// The child has missed a deadline.
    pub fn pass(&mut self, time: Duration) -> Result<HarnessOutput, HarnessError> {
        self.now += time;
        match &mut self.session {
            Session::AppServer(session) => {
                session.tick(self.now).map(Into::into).map_err(violation)
            }
            Session::Proto(session, _) => match session.deadline() {
                Some((until, error)) if until <= self.now => Err(violation(error)),
                Some(_) | None => Ok(HarnessOutput::default()),
            },
        }
    }
}

impl From<SessionOutput> for HarnessOutput {
    fn from(output: SessionOutput) -> Self {
        let events = output.events.into_iter();
        Self {
            write: output.write,
            events: events.map(|(key, event)| (key.0, event)).collect(),
            closed: output.closed.into_iter().map(|key| key.0).collect(),
        }
    }
}

fn of_proto(output: ProtoOutput, turn: u64) -> HarnessOutput {
    HarnessOutput {
        write: output.write,
        events: output
            .events
            .into_iter()
            .map(|event| (turn, event))
            .collect(),
        closed: Vec::new(),
    }
}

fn violation(error: impl Error + Send + Sync + 'static) -> HarnessError {
    HarnessError(Box::new(error))
}
