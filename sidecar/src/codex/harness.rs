//! A child that is nothing but its lines: what a protocol makes of them, without a process and without IO.
//! For those who count what a line costs (`counts`), and those who say what no child would (`fuzz`).

use std::error::Error;
use std::time::Duration;

use tokio::time::Instant;

use super::app_server::{self, AppServer, State, TurnKey};
use super::launch::Protocol;
use super::proto::{self, Phase, Proto};
use super::rate_limits::SharedRateLimits;
use crate::turn::{Event, TurnRequest};

/// A child of either protocol, seen from the other end of pipes that are not there.
#[derive(Debug)]
pub struct Replay {
    now: Instant,
    child: Child,
}

#[derive(Debug)]
enum Child {
    AppServer(AppServer),
    /// Its turn is the one that was begun last.
    Proto(Proto, u64),
}

/// What follows from a line, a new turn, or the passing of time.
#[derive(Debug, Default)]
pub struct Reaction {
    /// Lines for the child, each with its end.
    pub write: Vec<Vec<u8>>,
    /// What happened, by the number of the turn.
    pub events: Vec<(u64, Event)>,
    /// Turns of which the child knows nothing any more.
    pub closed: Vec<u64>,
}

/// The child broke its protocol and cannot be used any longer.
#[derive(Debug, thiserror::Error)]
#[error("the child broke its protocol")]
pub struct Broken(#[source] Box<dyn Error + Send + Sync>);

impl Replay {
    /// A child that has just been started, and what it is told first.
    pub fn start(protocol: Protocol) -> (Self, Reaction) {
        let now = Instant::now();
        let (child, first) = match protocol {
            Protocol::AppServer => {
                let (server, step) = AppServer::start(SharedRateLimits::default(), now);
                (Child::AppServer(server), step.into())
            }
            Protocol::Proto => {
                let proto = Proto::start("/work".to_owned(), SharedRateLimits::default(), now);
                (Child::Proto(proto, 0), Reaction::default())
            }
        };
        (Self { now, child }, first)
    }

    /// Whether a turn may begin.
    pub fn is_ready(&self) -> bool {
        match &self.child {
            Child::AppServer(server) => server.state() == State::Ready,
            Child::Proto(proto, _) => proto.phase() == Phase::Ready,
        }
    }

    /// Begins a turn, whose number must be new. To be called when the child is ready.
    pub fn begin(&mut self, turn: u64, request: TurnRequest) -> Reaction {
        match &mut self.child {
            Child::AppServer(server) => server.begin(TurnKey(turn), request, None).into(),
            Child::Proto(proto, last) => {
                *last = turn;
                of_proto(proto.begin(&request, self.now), turn)
            }
        }
    }

    /// Ends a turn early. A child of `proto` is ended with its turn instead.
    pub fn interrupt(&mut self, turn: u64) -> Reaction {
        match &mut self.child {
            Child::AppServer(server) => server.interrupt(TurnKey(turn)).into(),
            Child::Proto(..) => Reaction::default(),
        }
    }

    /// Reads one line of the child.
    ///
    /// # Errors
    /// The child broke its protocol.
    pub fn read_line(&mut self, line: &str) -> Result<Reaction, Broken> {
        match &mut self.child {
            Child::AppServer(server) => server.read_line(line).map(Into::into).map_err(broken),
            Child::Proto(proto, turn) => {
                let step = proto.read_line(line).map_err(broken)?;
                Ok(of_proto(step, *turn))
            }
        }
    }

    /// Lets time pass.
    ///
    /// # Errors
    /// The child was to say something by now.
    pub fn pass(&mut self, time: Duration) -> Result<Reaction, Broken> {
        self.now += time;
        match &mut self.child {
            Child::AppServer(server) => server.tick(self.now).map(Into::into).map_err(broken),
            Child::Proto(proto, _) => match proto.deadline() {
                Some((until, error)) if until <= self.now => Err(broken(error)),
                Some(_) | None => Ok(Reaction::default()),
            },
        }
    }
}

impl From<app_server::Step> for Reaction {
    fn from(step: app_server::Step) -> Self {
        let events = step.events.into_iter();
        Self {
            write: step.write,
            events: events.map(|(key, event)| (key.0, event)).collect(),
            closed: step.closed.into_iter().map(|key| key.0).collect(),
        }
    }
}

fn of_proto(step: proto::Step, turn: u64) -> Reaction {
    Reaction {
        write: step.write,
        events: step.events.into_iter().map(|event| (turn, event)).collect(),
        closed: Vec::new(),
    }
}

fn broken(error: impl Error + Send + Sync + 'static) -> Broken {
    Broken(Box::new(error))
}
