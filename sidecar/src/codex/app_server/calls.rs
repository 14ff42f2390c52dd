//! Our calls of a child: not too many at once, and none for ever.
//! JSON-RPC 2.0; the bounds are what the child was seen to bear.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::session::TurnKey;
use super::wire;
use crate::codex::json_line::json_line;

/// Calls that may be unanswered at a time. The child was seen to drop some of 200, and never one of 160.
pub(super) const MAX_UNANSWERED_CALLS: usize = 48;

/// Time that a call may take. The slowest, `thread/start` among 256 others, was seen to take a second.
pub(super) const CALL_DEADLINE: Duration = Duration::from_secs(10);

/// What we called, and for which turn.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Initialize,
    AuthStatus,
    AccountRead,
    ThreadStart(TurnKey),
    InjectItems(TurnKey),
    TurnStart(TurnKey),
    TurnInterrupt(TurnKey),
    ThreadUnsubscribe(TurnKey),
}

impl Call {
    /// Its name on the wire.
    pub(super) fn method(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::AuthStatus => "getAuthStatus",
            Self::AccountRead => "account/read",
            Self::ThreadStart(_) => "thread/start",
            Self::InjectItems(_) => "thread/inject_items",
            Self::TurnStart(_) => "turn/start",
            Self::TurnInterrupt(_) => "turn/interrupt",
            Self::ThreadUnsubscribe(_) => "thread/unsubscribe",
        }
    }
}

/// The calls that wait for their answers, and those that wait to be made.
#[derive(Debug, Default)]
pub(super) struct Calls {
    next_id: u64,
    unanswered: HashMap<u64, (Call, Instant)>,
    backlog: VecDeque<(u64, Call, Vec<u8>)>,
}

impl Calls {
    /// Makes a call: its line, unless it is kept back while too many are unanswered.
    pub(super) fn make(
        &mut self,
        call: Call,
        params: &impl Serialize,
        now: Instant,
    ) -> Option<Vec<u8>> {
        let id = self.next_id;
        self.next_id += 1;
        let line = json_line(&wire::Call {
            id,
            method: call.method(),
            params,
        });
        self.backlog.push_back((id, call, line));
        self.next_line(now)
    }

    /// What the answer with this id is to; `None` when that was given up before.
    pub(super) fn answered(&mut self, id: &str) -> Option<Call> {
        let (call, _sent) = self.unanswered.remove(&id.parse().ok()?)?;
        Some(call)
    }

    /// The line of a call that was kept back, once there is room for it.
    pub(super) fn next_line(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.unanswered.len() >= MAX_UNANSWERED_CALLS {
            return None;
        }
        let (id, call, line) = self.backlog.pop_front()?;
        self.unanswered.insert(id, (call, now));
        Some(line)
    }

    /// Gives up the calls that were not answered in time.
    pub(super) fn overdue(&mut self, now: Instant) -> Vec<Call> {
        let is_overdue =
            |_: &u64, (_, sent): &mut (Call, Instant)| now.duration_since(*sent) > CALL_DEADLINE;
        let overdue = self.unanswered.extract_if(is_overdue);
        overdue.map(|(_, (call, _))| call).collect()
    }

    /// Whether such a call waits for its answer.
    pub(super) fn waits_for(&self, call: Call) -> bool {
        self.unanswered
            .values()
            .any(|(waiting, _)| *waiting == call)
    }
}
