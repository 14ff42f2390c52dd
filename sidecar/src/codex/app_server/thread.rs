//! A thread of an app-server, which exists for one turn: its phases and their transitions.
//! `thread/start` -> `thread/inject_items` -> `turn/start` -> notifications -> `turn/completed` ->
//! `thread/unsubscribe`.

use tokio::time::Instant;

use super::decoding::LARGE_PIXELS;
use super::ids::{RequestId, ThreadId, TurnId};
use super::reaction::{Next, Reaction, TurnOutput};
use super::rebuilt::RebuiltThread;
use super::record_queue::RecordQueue;
use super::wire;
use crate::turn::{Effort, Event, Outcome, TurnRequest};

/// The phase of a thread, with the ids that are known in that phase.
#[derive(Debug)]
enum Phase {
    /// `thread/start` was sent.
    Starting { cancelled: bool },
    /// `thread/inject_items`, then `turn/start` were sent.
    Preparing { thread: ThreadId, cancelled: bool },
    /// The result of `turn/start` has arrived.
    Running { thread: ThreadId, turn: TurnId },
    /// `turn/interrupt` was sent.
    Interrupting {
        thread: ThreadId,
        turn: TurnId,
        since: Instant,
    },
    /// `thread/unsubscribe` was sent.
    Closing { thread: ThreadId },
}

/// A thread and its one turn.
#[derive(Debug)]
pub(super) struct Thread {
    pub(super) request: TurnRequest,
    phase: Phase,
    /// Beside the phase and not in `Running`: notifications may arrive before the result of `turn/start`, and a turn
    /// that completes in spite of an interrupt still reports its usage.
    pub(super) output: TurnOutput,
    /// Time of the last `item/tool/call` request for a call that no raw item had announced.
    pub(super) unannounced_call_at: Option<Instant>,
    /// The file that the thread is rebuilt from, until Codex has rejected it.
    pub(super) rebuild: Option<RebuiltThread>,
    /// Codex has rebuilt the thread.
    pub(super) is_rebuilt: bool,
    /// The records of its file that have not been handled.
    pub(super) records: RecordQueue,
    /// The child's `item/tool/call` requests without a response.
    pub(super) open_requests: Vec<RequestId>,
    /// Time of the last notification about this thread.
    pub(super) last_activity: Instant,
}

impl Thread {
    pub(super) fn new(request: TurnRequest, now: Instant) -> Self {
        Self {
            request,
            phase: Phase::Starting { cancelled: false },
            output: TurnOutput::default(),
            unannounced_call_at: None,
            rebuild: None,
            is_rebuilt: false,
            records: RecordQueue::default(),
            open_requests: Vec::new(),
            last_activity: now,
        }
    }

    /// Returns Codex's id of the thread; `None` before the result of `thread/start`.
    pub(super) fn id(&self) -> Option<&ThreadId> {
        match &self.phase {
            Phase::Starting { .. } => None,
            Phase::Preparing { thread, .. }
            | Phase::Running { thread, .. }
            | Phase::Interrupting { thread, .. }
            | Phase::Closing { thread } => Some(thread),
        }
    }

    /// Returns the time of the interrupt of a turn that has not completed since.
    pub(super) fn interrupted_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Interrupting { since, .. } => Some(since),
            Phase::Starting { .. }
            | Phase::Preparing { .. }
            | Phase::Running { .. }
            | Phase::Closing { .. } => None,
        }
    }

    /// Whether the child has not asked the model yet, so that the turn may begin again on another child.
    pub(super) fn is_unasked(&self) -> bool {
        match self.phase {
            Phase::Starting { cancelled } | Phase::Preparing { cancelled, .. } => {
                // Emptied before `turn/start`, which asks the model.
                !cancelled && !self.request.conversation.is_empty()
            }
            Phase::Running { .. } | Phase::Interrupting { .. } | Phase::Closing { .. } => false,
        }
    }

    /// Whether the turn was cancelled before it began.
    pub(super) fn is_cancelled(&self) -> bool {
        matches!(
            self.phase,
            Phase::Starting { cancelled: true }
                | Phase::Preparing {
                    cancelled: true,
                    ..
                }
        )
    }

    /// Whether Codex waits for the output of a tool call of a response whose end is not known.
    pub(super) fn awaits_end_of_response(&self) -> bool {
        matches!(self.phase, Phase::Running { .. }) && !self.open_requests.is_empty()
    }

    /// Whether the child needs much memory and time for the images of the turn.
    pub(super) fn has_large_images(&self) -> bool {
        let pixels = self.request.images().map(|image| image.pixels);
        pixels.sum::<u64>() > LARGE_PIXELS
    }

    /// Handles the turn's place at the head of those with large images.
    pub(super) fn on_decoding_admitted(&mut self) -> Next {
        match &self.phase {
            Phase::Preparing {
                thread,
                cancelled: false,
            } => Next::InjectItems(thread.clone()),
            Phase::Preparing {
                cancelled: true, ..
            } => self.close(),
            Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Interrupting { .. }
            | Phase::Closing { .. } => Next::Wait,
        }
    }

    pub(super) fn inject_items<'a>(&'a self, thread_id: &'a ThreadId) -> wire::InjectItems<'a> {
        wire::InjectItems {
            thread_id,
            items: wire::history(&self.request),
        }
    }

    pub(super) fn turn_start<'a>(&'a self, thread_id: &'a ThreadId) -> wire::TurnStart<'a> {
        wire::TurnStart {
            thread_id,
            input: [],
            effort: self.request.model.effort.as_ref().map(Effort::as_str),
            service_tier: self.request.model.service_tier.as_deref(),
            summary: self.request.summary.as_str(),
            output_schema: self.request.schema.as_deref(),
        }
    }

    /// Handles the result of `thread/start`.
    pub(super) fn on_thread_started(&mut self, thread: ThreadId) -> Next {
        let Phase::Starting { cancelled } = self.phase else {
            return Next::Wait;
        };
        self.phase = Phase::Preparing {
            thread: thread.clone(),
            cancelled,
        };
        if cancelled {
            self.close()
        } else {
            Next::InjectItems(thread)
        }
    }

    /// Handles the result of `thread/inject_items`.
    pub(super) fn on_items_injected(&mut self) -> Next {
        // The child has the conversation now; a long one must not stay in memory for the length of the turn.
        self.request.conversation = Vec::new();
        self.request.memory.release();
        match &self.phase {
            Phase::Preparing {
                cancelled: true, ..
            } => self.close(),
            Phase::Preparing { thread, .. } => Next::StartTurn(thread.clone()),
            Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Interrupting { .. }
            | Phase::Closing { .. } => Next::Wait,
        }
    }

    /// Handles the result of `turn/start`.
    pub(super) fn on_turn_started(&mut self, turn: TurnId, now: Instant) -> Next {
        let Phase::Preparing { thread, cancelled } = &self.phase else {
            return Next::Wait; // `turn/completed` came first.
        };
        let (thread, cancelled) = (thread.clone(), *cancelled);
        self.phase = Phase::Running { thread, turn };
        if cancelled {
            self.interrupt(now)
        } else {
            Next::Wait
        }
    }

    /// Interrupts the turn, or cancels it if it has not started yet.
    pub(super) fn interrupt(&mut self, now: Instant) -> Next {
        match &mut self.phase {
            // Codex has no call to interrupt a turn without an id: the next result ends the turn.
            Phase::Starting { cancelled } | Phase::Preparing { cancelled, .. } => {
                *cancelled = true;
                Next::Wait
            }
            Phase::Running { thread, turn } => {
                let (thread, turn) = (thread.clone(), turn.clone());
                self.phase = Phase::Interrupting {
                    thread: thread.clone(),
                    turn: turn.clone(),
                    since: now,
                };
                Next::Interrupt(thread, turn)
            }
            Phase::Interrupting { .. } | Phase::Closing { .. } => Next::Wait,
        }
    }

    /// Abandons the turn: a call of this thread failed, or the turn does not complete after its interrupt.
    pub(super) fn give_up(&mut self) -> Next {
        match self.phase {
            Phase::Closing { .. } => Next::Wait,
            Phase::Starting { .. }
            | Phase::Preparing { .. }
            | Phase::Running { .. }
            | Phase::Interrupting { .. } => self.close(),
        }
    }

    /// Finishes the turn for the client, and interrupts it in Codex.
    pub(super) fn finish_early(&mut self, outcome: Outcome, now: Instant) -> Reaction {
        Reaction {
            events: vec![Event::Finished(outcome)],
            next: self.interrupt(now),
        }
    }

    /// Whether `turn_id` is the id of the running turn.
    pub(super) fn is_current_turn(&self, turn_id: &str) -> bool {
        match &self.phase {
            Phase::Running { turn, .. } | Phase::Interrupting { turn, .. } => turn.0 == turn_id,
            Phase::Starting { .. } | Phase::Preparing { .. } | Phase::Closing { .. } => false,
        }
    }

    /// Ends the thread in Codex, if it exists there.
    pub(super) fn close(&mut self) -> Next {
        let Some(thread) = self.id().cloned() else {
            return Next::Forget;
        };
        self.phase = Phase::Closing {
            thread: thread.clone(),
        };
        Next::Unsubscribe(thread)
    }
}
