//! Calls to the child: a bounded number at a time, each with a timeout.
//! JSON-RPC 2.0; the bounds come from experiments with the child.

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use super::ids::TurnKey;
use super::wire;
use crate::codex::json_line::json_line;
use crate::turn::Digest;

/// Calls that may wait for a response at a time. The child was seen to drop some of 200, and never one of 160.
pub(super) const MAX_PENDING_CALLS: usize = 48;

/// Timeout of a call. The slowest seen, `thread/start` among 256 others, took a second.
pub(super) const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// Timeout of a call with large images, which the child decodes and scales before it answers. Codex 0.171 took up to a
/// second of a core for each of eight photos.
const DECODE_TIMEOUT: Duration = Duration::from_secs(60);

/// A call, and the turn that it is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Call {
    Initialize,
    AuthStatus,
    AccountRead,
    ThreadStart(TurnKey),
    /// `thread/start` ahead of a turn with these settings.
    StartAhead(Digest),
    ThreadResume(TurnKey),
    InjectItems(TurnKey),
    TurnStart(TurnKey),
    TurnInterrupt(TurnKey),
    ThreadUnsubscribe(TurnKey),
    /// Ends a rebuilt thread, and removes its file.
    ThreadDelete(TurnKey),
    /// Ends a thread without a turn.
    Discard,
}

impl Call {
    /// Returns the method's name on the wire.
    pub(super) fn method(self) -> &'static str {
        match self {
            Self::Initialize => "initialize",
            Self::AuthStatus => "getAuthStatus",
            Self::AccountRead => "account/read",
            Self::ThreadStart(_) | Self::StartAhead(_) => "thread/start",
            Self::ThreadResume(_) => "thread/resume",
            Self::InjectItems(_) => "thread/inject_items",
            Self::TurnStart(_) => "turn/start",
            Self::TurnInterrupt(_) => "turn/interrupt",
            Self::ThreadUnsubscribe(_) | Self::Discard => "thread/unsubscribe",
            Self::ThreadDelete(_) => "thread/delete",
        }
    }
}

/// The pending calls, and the queue of calls that wait for one of them to get a response.
#[derive(Debug, Default)]
pub(super) struct Calls {
    next_id: u64,
    pending: HashMap<u64, (Call, Instant)>,
    queue: VecDeque<(u64, Call, Vec<u8>)>,
}

impl Calls {
    /// Queues a call, and returns the next line to send unless [`MAX_PENDING_CALLS`] are pending.
    pub(super) fn enqueue(
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
        // Through the queue even when there is room, so that a turn's calls keep their order.
        self.queue.push_back((id, call, line));
        self.next_line(now)
    }

    /// Takes the pending call with this id; `None` for a call that has timed out.
    pub(super) fn take_pending(&mut self, id: &str) -> Option<Call> {
        let (call, _sent) = self.pending.remove(&id.parse().ok()?)?;
        Some(call)
    }

    /// Returns the line of the next queued call, once there is room for it.
    pub(super) fn next_line(&mut self, now: Instant) -> Option<Vec<u8>> {
        if self.pending.len() >= MAX_PENDING_CALLS {
            return None;
        }
        let (id, call, line) = self.queue.pop_front()?;
        // The timeout starts here, not when the call was queued.
        self.pending.insert(id, (call, now));
        Some(line)
    }

    /// Takes the pending calls that have timed out. `decoding` is the turn with the images that the child decodes.
    pub(super) fn take_overdue(&mut self, now: Instant, decoding: Option<TurnKey>) -> Vec<Call> {
        let is_overdue = |_: &u64, (call, sent): &mut (Call, Instant)| {
            let decodes = decoding.is_some_and(|key| *call == Call::InjectItems(key));
            let limit = if decodes {
                DECODE_TIMEOUT
            } else {
                CALL_TIMEOUT
            };
            now.duration_since(*sent) > limit
        };
        let overdue = self.pending.extract_if(is_overdue);
        overdue.map(|(_, (call, _))| call).collect()
    }

    /// Whether this call waits for its response.
    pub(super) fn is_pending(&self, call: Call) -> bool {
        self.pending.values().any(|(pending, _)| *pending == call)
    }
}
