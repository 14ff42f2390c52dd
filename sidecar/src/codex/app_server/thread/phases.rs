//! A thread of an app-server with its turn: the phases and their transitions.
//! `thread/start` -> `thread/inject_items` -> `turn/start` -> notifications -> `turn/completed` ->
//! `thread/unsubscribe`. A thread that stays loaded for the next request of its conversation goes on with
//! `thread/inject_items`, or with the outputs of the tool calls that its turn waits for.

use std::collections::HashSet;

use tokio::time::Instant;

use super::continuation::{Continuation, KeptThread, ParkedTurn};
use super::reaction::{Next, Reaction, TurnOutput};
use crate::codex::app_server::decoding::LARGE_PIXELS;
use crate::codex::app_server::ids::{CallId, RequestId, ThreadId, TurnId, TurnKey};
use crate::codex::app_server::record_queue::RecordQueue;
use crate::codex::app_server::wire;
use crate::turn::{
    Content, Effort, Event, Image, Item, Outcome, ReasoningPlace, TurnRequest, Usage,
};

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
    /// The turn has completed; the thread stays loaded.
    Idle { thread: ThreadId },
    /// The turn waits for the outputs of its tool calls; its client has the calls.
    Parked { thread: ThreadId, turn: TurnId },
    /// `thread/unsubscribe` was sent.
    Closing { thread: ThreadId },
}

/// The request of Codex for the output of a tool call, and the text of the output.
pub(in crate::codex::app_server) type ToolResponse = (RequestId, String);

/// The items that a request adds to its thread.
#[derive(Debug)]
pub(in crate::codex::app_server) enum NewItems {
    /// They are injected, and begin a turn.
    Injected,
    /// They are the outputs that the turn waits for, and these are the responses that Codex has asked for so far.
    Outputs(Vec<ToolResponse>),
}

/// The state of an `item/tool/call` request after its arrival.
#[derive(Debug)]
pub(in crate::codex::app_server) enum CallRequested {
    /// The client had sent the output before.
    Answered(ToolResponse),
    /// The request stays open; the event of a call that no raw item had announced.
    Open(Option<Event>),
}

/// A thread and its current turn.
#[derive(Debug)]
pub(in crate::codex::app_server) struct Thread {
    pub(in crate::codex::app_server) request: TurnRequest,
    phase: Phase,
    /// Whether the thread stays loaded when a later request can continue it.
    stays_loaded: bool,
    /// The items of the conversation that the thread has from earlier requests.
    known_items: usize,
    /// The reasoning items that the thread has.
    reasoning: HashSet<ReasoningPlace>,
    /// Tokens of the earlier requests, which Codex includes in its sums.
    usage_before: Usage,
    /// Beside the phase and not in `Running`: notifications may arrive before the result of `turn/start`, and a turn
    /// that completes in spite of an interrupt still reports its usage.
    pub(super) output: TurnOutput,
    /// Time of the last `item/tool/call` request for a call that no raw item had announced.
    pub(in crate::codex::app_server) unannounced_call_at: Option<Instant>,
    /// The file that the thread is rebuilt from, until Codex has rejected it.
    pub(in crate::codex::app_server) rebuild: Option<wire::RebuiltThread>,
    /// Codex has rebuilt the thread.
    pub(in crate::codex::app_server) is_rebuilt: bool,
    /// The records of its file that have not been handled.
    pub(in crate::codex::app_server) records: RecordQueue,
    /// The child's `item/tool/call` requests without a response.
    pub(super) open_requests: Vec<(CallId, RequestId)>,
    /// The outputs of the client that Codex has not asked for yet: it reports the end of a response before it sends the
    /// `item/tool/call` requests for the calls in it.
    outputs: Vec<(CallId, String)>,
    /// Time of the last notification about this thread.
    pub(super) last_activity: Instant,
}

impl Thread {
    /// A thread that `thread/start` was sent for.
    pub(in crate::codex::app_server) fn new(
        request: TurnRequest,
        stays_loaded: bool,
        now: Instant,
    ) -> Self {
        let phase = Phase::Starting { cancelled: false };
        Self::in_phase(phase, request, stays_loaded, now)
    }

    fn in_phase(phase: Phase, request: TurnRequest, stays_loaded: bool, now: Instant) -> Self {
        Self {
            stays_loaded,
            known_items: 0,
            reasoning: request.digest.reasoning().clone(),
            usage_before: Usage::default(),
            request,
            phase,
            output: TurnOutput::default(),
            unannounced_call_at: None,
            rebuild: None,
            is_rebuilt: false,
            records: RecordQueue::default(),
            open_requests: Vec::new(),
            outputs: Vec::new(),
            last_activity: now,
        }
    }

    /// Continues the thread with the next request of its conversation. Returns what Codex gets of that request.
    ///
    /// # Errors
    /// The thread is not one that stays loaded, or the request has other items than one text for each tool call that its
    /// turn waits for. Both are unchanged.
    #[expect(clippy::result_large_err, reason = "the caller goes on with both")]
    pub(in crate::codex::app_server) fn continue_with(
        self,
        request: TurnRequest,
        continuation: Continuation,
        now: Instant,
    ) -> Result<(Self, NewItems), (Self, TurnRequest)> {
        let Continuation {
            first_new,
            reasoning,
            ..
        } = continuation;
        let (phase, outputs) = match &self.phase {
            Phase::Idle { thread } => {
                let (thread, cancelled) = (thread.clone(), false);
                (Phase::Preparing { thread, cancelled }, None)
            }
            Phase::Parked { thread, turn } => {
                let (thread, turn) = (thread.clone(), turn.clone());
                match self.outputs_among(&request.conversation[first_new..]) {
                    Some(outputs) => (Phase::Running { thread, turn }, Some(outputs)),
                    None => return Err((self, request)),
                }
            }
            Phase::Starting { .. }
            | Phase::Preparing { .. }
            | Phase::Running { .. }
            | Phase::Interrupting { .. }
            | Phase::Closing { .. } => return Err((self, request)),
        };
        let used = self.output.usage.unwrap_or_default();
        let mut next = Self {
            known_items: first_new,
            usage_before: self.usage_before.plus(used),
            is_rebuilt: self.is_rebuilt,
            records: self.records,
            ..Self::in_phase(phase, request, self.stays_loaded, now)
        };
        next.reasoning.extend(reasoning);
        let Some(outputs) = outputs else {
            return Ok((next, NewItems::Injected));
        };
        next.drop_conversation();
        next.outputs = outputs;
        let requests = self.open_requests.into_iter();
        let responses = requests.filter_map(|(call, request)| next.respond(&call, request).ok());
        let responses = responses.collect();
        Ok((next, NewItems::Outputs(responses)))
    }

    /// Returns the text of each of these outputs. `None` if an item is anything else than one text for a call of the turn.
    fn outputs_among(&self, items: &[Item]) -> Option<Vec<(CallId, String)>> {
        let each = items.iter().map(|item| match item {
            Item::ToolOutput(output) => match output.content.as_slice() {
                [Content::Text(text)] => Some((CallId(output.call_id.clone()), text.clone())),
                _ => None,
            },
            Item::Message(_) | Item::ToolCall(_) | Item::Reasoning(_) => None,
        });
        let outputs: Vec<_> = each.collect::<Option<_>>()?;
        let is_call = |(call, _): &(CallId, String)| self.output.tool_calls.contains(call);
        outputs.iter().all(is_call).then_some(outputs)
    }

    /// Answers a request of Codex with the output of its call, which the client has sent already.
    ///
    /// # Errors
    /// The client has not; the request is returned.
    pub(super) fn respond(
        &mut self,
        call: &CallId,
        request: RequestId,
    ) -> Result<ToolResponse, RequestId> {
        match self.outputs.iter().position(|(of, _)| of == call) {
            Some(index) => Ok((request, self.outputs.swap_remove(index).1)),
            None => Err(request),
        }
    }

    /// Keeps the thread for the next request of its conversation, if such a request can continue it: the turn has ended by
    /// itself, or waits for outputs; and a client can return its whole answer.
    pub(super) fn keep(&mut self) -> bool {
        let can_be_continued = self.stays_loaded
            && !self.request.digest.is_empty()
            && self.output.is_repeatable()
            // The history has a developer message that a later request does not have.
            && !self.request.tools.required;
        let has_calls = !self.output.tool_calls.is_empty();
        let phase = match &self.phase {
            Phase::Running { thread, turn } if has_calls => Phase::Parked {
                thread: thread.clone(),
                turn: turn.clone(),
            },
            // `turn/completed` may come before the result of `turn/start`.
            Phase::Running { thread, .. }
            | Phase::Preparing {
                thread,
                cancelled: false,
            } if !has_calls => Phase::Idle {
                thread: thread.clone(),
            },
            Phase::Running { .. }
            | Phase::Starting { .. }
            | Phase::Preparing { .. }
            | Phase::Interrupting { .. }
            | Phase::Idle { .. }
            | Phase::Parked { .. }
            | Phase::Closing { .. } => return false,
        };
        if can_be_continued {
            self.phase = phase;
        }
        can_be_continued
    }

    /// Takes what a later request is compared with, and drops what only the last one needed. `None` unless the thread stays
    /// loaded.
    pub(in crate::codex::app_server) fn take_kept(&mut self, key: TurnKey) -> Option<KeptThread> {
        let is_parked = match self.phase {
            Phase::Idle { .. } => false,
            Phase::Parked { .. } => true,
            Phase::Starting { .. }
            | Phase::Preparing { .. }
            | Phase::Running { .. }
            | Phase::Interrupting { .. }
            | Phase::Closing { .. } => return None,
        };
        // For one turn only.
        self.request.tools.offered = Vec::new();
        self.request.schema = None;
        let digest = std::mem::take(&mut self.request.digest);
        let call_ids = self.output.tool_calls.iter().map(|id| id.0.clone());
        Some(KeptThread {
            key,
            end: digest.prefix(digest.len())?,
            len: digest.len(),
            reasoning: std::mem::take(&mut self.reasoning),
            hint: self.request.hint.take(),
            answer: std::mem::take(&mut self.output.answer),
            parked: is_parked.then(|| ParkedTurn {
                call_ids: call_ids.collect(),
                settings: digest.turn_settings(),
            }),
        })
    }

    /// Gives up a thread that stays loaded: ends it in Codex, after an interrupt of a turn that waits.
    pub(in crate::codex::app_server) fn give_up_kept(&mut self, now: Instant) -> Next {
        match &self.phase {
            Phase::Idle { .. } => self.close(),
            Phase::Parked { thread, turn } => {
                let (thread, turn) = (thread.clone(), turn.clone());
                self.start_interrupt(thread, turn, now)
            }
            Phase::Starting { .. }
            | Phase::Preparing { .. }
            | Phase::Running { .. }
            | Phase::Interrupting { .. }
            | Phase::Closing { .. } => Next::Wait,
        }
    }

    /// Whether the turn waits for outputs of the client.
    pub(super) fn is_parked(&self) -> bool {
        matches!(self.phase, Phase::Parked { .. })
    }

    /// Returns the tokens of this request, from those of the whole thread.
    pub(super) fn usage_of(&self, thread: Usage) -> Usage {
        thread.minus(self.usage_before)
    }

    /// Returns Codex's id of the thread; `None` before the result of `thread/start`.
    pub(in crate::codex::app_server) fn id(&self) -> Option<&ThreadId> {
        match &self.phase {
            Phase::Starting { .. } => None,
            Phase::Preparing { thread, .. }
            | Phase::Running { thread, .. }
            | Phase::Interrupting { thread, .. }
            | Phase::Idle { thread }
            | Phase::Parked { thread, .. }
            | Phase::Closing { thread } => Some(thread),
        }
    }

    /// Returns the time of the interrupt of a turn that has not completed since.
    pub(in crate::codex::app_server) fn interrupted_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Interrupting { since, .. } => Some(since),
            Phase::Starting { .. }
            | Phase::Preparing { .. }
            | Phase::Running { .. }
            | Phase::Idle { .. }
            | Phase::Parked { .. }
            | Phase::Closing { .. } => None,
        }
    }

    /// Whether the child has not asked the model yet, so that the turn may begin again on another child.
    pub(in crate::codex::app_server) fn is_unasked(&self) -> bool {
        match self.phase {
            Phase::Starting { cancelled } | Phase::Preparing { cancelled, .. } => {
                // Emptied before `turn/start`, which asks the model.
                !cancelled && !self.request.conversation.is_empty()
            }
            Phase::Running { .. }
            | Phase::Interrupting { .. }
            | Phase::Idle { .. }
            | Phase::Parked { .. }
            | Phase::Closing { .. } => false,
        }
    }

    /// Whether the turn was cancelled before it began.
    pub(in crate::codex::app_server) fn is_cancelled(&self) -> bool {
        matches!(
            self.phase,
            Phase::Starting { cancelled: true }
                | Phase::Preparing {
                    cancelled: true,
                    ..
                }
        )
    }

    /// Whether Codex waits for the output of a tool call while the end of the response is not known.
    pub(in crate::codex::app_server) fn awaits_end_of_response(&self) -> bool {
        matches!(self.phase, Phase::Running { .. }) && !self.open_requests.is_empty()
    }

    /// Whether the child needs much memory and time for the images of the turn.
    pub(in crate::codex::app_server) fn has_large_images(&self) -> bool {
        let pixels = self.new_images().map(|image| image.pixels);
        pixels.sum::<u64>() > LARGE_PIXELS
    }

    fn new_images(&self) -> impl Iterator<Item = &Image> {
        let new = self.request.conversation.iter().skip(self.known_items);
        new.flat_map(Item::images)
    }

    /// Handles the turn's place at the head of those with large images.
    pub(in crate::codex::app_server) fn on_decoding_admitted(&mut self) -> Next {
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
            | Phase::Idle { .. }
            | Phase::Parked { .. }
            | Phase::Closing { .. } => Next::Wait,
        }
    }

    pub(in crate::codex::app_server) fn inject_items<'a>(
        &'a self,
        thread_id: &'a ThreadId,
    ) -> wire::InjectItems<'a> {
        wire::InjectItems {
            thread_id,
            items: wire::history(&self.request, self.known_items),
        }
    }

    pub(in crate::codex::app_server) fn turn_start<'a>(
        &'a self,
        thread_id: &'a ThreadId,
    ) -> wire::TurnStart<'a> {
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
    pub(in crate::codex::app_server) fn on_thread_started(&mut self, thread: ThreadId) -> Next {
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
    pub(in crate::codex::app_server) fn on_items_injected(&mut self) -> Next {
        self.drop_conversation();
        match &self.phase {
            Phase::Preparing {
                cancelled: true, ..
            } => self.close(),
            Phase::Preparing { thread, .. } => Next::StartTurn(thread.clone()),
            Phase::Starting { .. }
            | Phase::Running { .. }
            | Phase::Interrupting { .. }
            | Phase::Idle { .. }
            | Phase::Parked { .. }
            | Phase::Closing { .. } => Next::Wait,
        }
    }

    /// Drops the conversation, which the child has now; a long one must not stay in memory for the length of the turn.
    fn drop_conversation(&mut self) {
        self.request.conversation = Vec::new();
        self.request.memory.release();
    }

    /// Handles the result of `turn/start`.
    pub(in crate::codex::app_server) fn on_turn_started(
        &mut self,
        turn: TurnId,
        now: Instant,
    ) -> Next {
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
    pub(in crate::codex::app_server) fn interrupt(&mut self, now: Instant) -> Next {
        match &mut self.phase {
            // Codex has no call to interrupt a turn without an id: the next result ends the turn.
            Phase::Starting { cancelled } | Phase::Preparing { cancelled, .. } => {
                *cancelled = true;
                Next::Wait
            }
            Phase::Running { thread, turn } => {
                let (thread, turn) = (thread.clone(), turn.clone());
                self.start_interrupt(thread, turn, now)
            }
            // The client of a turn that has ended for it disconnects, and the thread stays.
            Phase::Idle { .. }
            | Phase::Parked { .. }
            | Phase::Interrupting { .. }
            | Phase::Closing { .. } => Next::Wait,
        }
    }

    fn start_interrupt(&mut self, thread: ThreadId, turn: TurnId, now: Instant) -> Next {
        self.phase = Phase::Interrupting {
            thread: thread.clone(),
            turn: turn.clone(),
            since: now,
        };
        Next::Interrupt(thread, turn)
    }

    /// Abandons the turn: a call of this thread failed, or the turn does not complete after its interrupt.
    pub(in crate::codex::app_server) fn give_up(&mut self) -> Next {
        match self.phase {
            Phase::Closing { .. } => Next::Wait,
            Phase::Starting { .. }
            | Phase::Preparing { .. }
            | Phase::Running { .. }
            | Phase::Idle { .. }
            | Phase::Parked { .. }
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
            Phase::Starting { .. }
            | Phase::Preparing { .. }
            | Phase::Idle { .. }
            | Phase::Parked { .. }
            | Phase::Closing { .. } => false,
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
