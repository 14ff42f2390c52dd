//! One thread of an app-server, which lives for one turn: its phases, and what its notifications mean.
//! thread/start -> thread/inject_items -> turn/start -> notifications -> turn/completed -> thread/unsubscribe.

use std::time::Duration;

use tokio::time::Instant;

use super::{failure, history, names, wire};
use crate::turn::{
    Event, FinishReason, Outcome, Profile, ReasoningItem, ToolCall, TurnError, TurnRequest, Usage,
};

/// How far a thread has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Opening,
    Injecting,
    StartingTurn,
    Running,
    Interrupting { since: Instant },
    Closing,
}

/// The call that a transition asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Next {
    Wait,
    Inject,
    StartTurn,
    Interrupt,
    Unsubscribe,
    /// There is nothing to unsubscribe from: forget it.
    Close,
}

/// A thread and its one turn.
#[derive(Debug)]
pub(super) struct Thread {
    request: TurnRequest,
    phase: Phase,
    /// The client left while the turn could not be interrupted yet.
    unwanted: bool,
    thread_id: String,
    turn_id: String,
    /// Text has come, which a retry would repeat.
    said: bool,
    reasoned: bool,
    /// The ids of the client's calls.
    called: Vec<String>,
    /// When the child asked for a call that no raw item had told.
    asked_at: Option<Instant>,
    /// The ids of the child's requests for what came of calls, none of which is answered.
    open_requests: Vec<String>,
    /// A call came although nothing was offered.
    unasked: bool,
    /// When the child said something of this thread last.
    heard_at: Instant,
    usage: Option<Usage>,
}

type Notified = Result<(Option<Event>, Next), serde_json::Error>;

impl Thread {
    pub(super) fn new(request: TurnRequest, now: Instant) -> Self {
        Self {
            request,
            phase: Phase::Opening,
            unwanted: false,
            thread_id: String::new(),
            turn_id: String::new(),
            said: false,
            reasoned: false,
            called: Vec::new(),
            asked_at: None,
            open_requests: Vec::new(),
            unasked: false,
            heard_at: now,
            usage: None,
        }
    }

    /// Empty until the child has named it.
    pub(super) fn id(&self) -> &str {
        &self.thread_id
    }

    /// When the turn was interrupted, if it goes on since.
    pub(super) fn interrupted_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Interrupting { since } => Some(since),
            Phase::Opening
            | Phase::Injecting
            | Phase::StartingTurn
            | Phase::Running
            | Phase::Closing => None,
        }
    }

    pub(super) fn inject_items(&self) -> wire::InjectItems<'_> {
        wire::InjectItems {
            thread_id: &self.thread_id,
            items: history::history(&self.request),
        }
    }

    pub(super) fn turn_start(&self) -> wire::TurnStart<'_> {
        wire::TurnStart {
            thread_id: &self.thread_id,
            input: [],
            effort: self.request.model.effort.map(crate::turn::Effort::as_str),
            summary: self.request.summary.as_str(),
            output_schema: self.request.schema.as_deref(),
        }
    }

    pub(super) fn turn_interrupt(&self) -> wire::TurnInterrupt<'_> {
        wire::TurnInterrupt {
            thread_id: &self.thread_id,
            turn_id: &self.turn_id,
        }
    }

    pub(super) fn unsubscribe(&self) -> wire::ThreadUnsubscribe<'_> {
        wire::ThreadUnsubscribe {
            thread_id: &self.thread_id,
        }
    }

    pub(super) fn on_thread(&mut self, id: String) -> Next {
        self.thread_id = id;
        self.unless_unwanted(Phase::Injecting, Next::Inject)
    }

    pub(super) fn on_injected(&mut self) -> Next {
        self.request.conversation = Vec::new(); // The child has it now.
        self.unless_unwanted(Phase::StartingTurn, Next::StartTurn)
    }

    pub(super) fn on_turn(&mut self, id: String, now: Instant) -> Next {
        self.turn_id = id;
        if self.phase != Phase::StartingTurn {
            return Next::Wait; // It is over already.
        }
        self.phase = Phase::Running;
        if self.unwanted {
            self.interrupt(now)
        } else {
            Next::Wait
        }
    }

    /// The client wants no more of it.
    pub(super) fn interrupt(&mut self, now: Instant) -> Next {
        self.unwanted = true;
        match self.phase {
            Phase::Running => {
                self.phase = Phase::Interrupting { since: now };
                Next::Interrupt
            }
            Phase::Opening
            | Phase::Injecting
            | Phase::StartingTurn
            | Phase::Interrupting { .. }
            | Phase::Closing => Next::Wait,
        }
    }

    /// A call of this thread failed, or its turn does not end.
    pub(super) fn give_up(&mut self) -> Next {
        match self.phase {
            Phase::Closing => Next::Wait,
            Phase::Opening => Next::Close,
            Phase::Injecting
            | Phase::StartingTurn
            | Phase::Running
            | Phase::Interrupting { .. } => self.close(),
        }
    }

    /// What a notification about this thread means.
    ///
    /// # Errors
    /// It has another shape than the protocol says.
    pub(super) fn on_notification(
        &mut self,
        method: &str,
        params: &str,
        quota_reset: Option<Duration>,
        now: Instant,
    ) -> Notified {
        self.heard_at = now;
        match method {
            "item/agentMessage/delta" => {
                let text: wire::Delta = serde_json::from_str(params)?;
                Ok((Some(self.on_text(text.delta, now)), Next::Wait))
            }
            "item/completed" => self.on_item(&serde_json::from_str(params)?),
            "item/reasoning/summaryTextDelta" => self.on_reasoning(serde_json::from_str(params)?),
            "item/reasoning/summaryPartAdded" => Ok((self.reasoning_break(), Next::Wait)),
            "rawResponseItem/completed" => self.on_raw_item(&serde_json::from_str(params)?),
            "rawResponse/completed" => self.on_response(serde_json::from_str(params)?, now),
            "thread/tokenUsage/updated" => self.on_usage(serde_json::from_str(params)?),
            "error" => self.on_error(&serde_json::from_str(params)?, now),
            "turn/completed" => self.on_completed(serde_json::from_str(params)?, quota_reset),
            _ => Ok((Some(Event::Heartbeat), Next::Wait)),
        }
    }

    /// More of the answer.
    pub(super) fn on_text(&mut self, text: String, now: Instant) -> Event {
        self.heard_at = now;
        self.said = true;
        Event::Text(text)
    }

    fn on_item(&self, completed: &wire::ItemCompleted<'_>) -> Notified {
        let event = if completed.item.kind == "agentMessage" {
            Event::MessageEnded
        } else {
            Event::Heartbeat
        };
        Ok((Some(event), Next::Wait))
    }

    /// Of the items as the provider sent them, those of this turn: what we put into the history comes back too.
    fn on_raw_item(&mut self, completed: &wire::RawItemCompleted<'_>) -> Notified {
        if completed.turn_id != self.turn_id {
            return Ok((None, Next::Wait));
        }
        let event = match serde_json::from_str(completed.item.get())? {
            wire::RawItem::FunctionCall(call) => self.on_call(call.into()),
            wire::RawItem::Reasoning(item) => Some(Event::ReasoningItem(ReasoningItem::from(item))),
            wire::RawItem::Other => None,
        };
        Ok((event, Next::Wait))
    }

    /// A plain model has no tools but the client's, so that every call is the client's, by whatever name. Where there
    /// are none at all it is nobody's.
    fn on_call(&mut self, mut call: ToolCall) -> Option<Event> {
        let tools = &self.request.tools;
        let is_clients = self.request.profile == Profile::Chat
            || tools
                .offered
                .iter()
                .any(|tool| names::to_codex(&tool.name) == call.name);
        if is_clients && tools.offered.is_empty() {
            self.unasked = true;
            return None;
        }
        let is_enough = tools.one_at_a_time && !self.called.is_empty();
        if !is_clients || is_enough {
            return None;
        }
        self.called.push(call.call_id.clone());
        call.name = names::from_codex(call.name);
        Some(Event::ToolCall(call))
    }

    /// The child asks for what came of a call. A raw item has told it before, unless a later Codex has no raw items;
    /// then all calls are known when no more are asked for.
    pub(super) fn on_tool_call(
        &mut self,
        request: String,
        call: ToolCall,
        now: Instant,
    ) -> Option<Event> {
        self.open_requests.push(request);
        if self.called.contains(&call.call_id) {
            return None;
        }
        let event = self.on_call(call)?;
        self.asked_at = Some(now);
        Some(event)
    }

    /// The open requests of a child that waits for nothing but their answers: when a response of the model breaks off
    /// after a call, it says so only then. They are open no longer.
    pub(super) fn stale_requests(&mut self, now: Instant, patience: Duration) -> Vec<String> {
        if now.duration_since(self.heard_at) < patience {
            return Vec::new();
        }
        std::mem::take(&mut self.open_requests)
    }

    /// When it was last asked for a call that no raw item had told.
    pub(super) fn asked_at(&self) -> Option<Instant> {
        self.asked_at
    }

    /// All calls are known: they are the end of the turn.
    pub(super) fn end_with_calls(&mut self, usage: Option<Usage>, now: Instant) -> (Event, Next) {
        self.asked_at = None;
        let finished = Event::Finished(Outcome::Completed {
            stop: FinishReason::ToolCalls,
            usage: usage.or(self.usage),
        });
        (finished, self.interrupt(now))
    }

    /// The client's calls end the turn: the next request brings what came of them.
    fn on_response(&mut self, completed: wire::ResponseCompleted<'_>, now: Instant) -> Notified {
        if completed.turn_id == self.turn_id && self.unasked {
            let failed = Event::Finished(Outcome::Failed(TurnError::UnexpectedToolCall));
            return Ok((Some(failed), self.interrupt(now)));
        }
        if completed.turn_id != self.turn_id || self.called.is_empty() {
            return Ok((Some(Event::Heartbeat), Next::Wait));
        }
        let before = self.usage.unwrap_or_default();
        let usage = completed.usage.map(|tokens| before.plus(tokens.into()));
        let (finished, next) = self.end_with_calls(usage, now);
        Ok((Some(finished), next))
    }

    fn on_reasoning(&mut self, delta: wire::Delta) -> Notified {
        self.reasoned = true;
        Ok((Some(Event::Reasoning(delta.delta)), Next::Wait))
    }

    fn reasoning_break(&self) -> Option<Event> {
        self.reasoned.then_some(Event::ReasoningPartAdded)
    }

    /// After a failure the child reports counts that are all zero: that is no usage.
    fn on_usage(&mut self, updated: wire::TokenUsageUpdated) -> Notified {
        let usage = Usage::from(updated.token_usage.total);
        self.usage = (usage.total_tokens() > 0).then_some(usage);
        Ok((Some(Event::Heartbeat), Next::Wait))
    }

    /// A retry would say again, from its beginning, what the client has read already.
    fn on_error(&mut self, notice: &wire::ErrorNotice, now: Instant) -> Notified {
        tracing::warn!(
            reason = notice.error.message,
            kind = %notice.error.codex_error_info,
            will_retry = notice.will_retry,
            "codex reports an error"
        );
        if notice.will_retry && self.said {
            let failed = Event::Finished(Outcome::Failed(TurnError::ProviderFailed));
            return Ok((Some(failed), self.interrupt(now)));
        }
        Ok((Some(Event::Heartbeat), Next::Wait))
    }

    fn on_completed(
        &mut self,
        completed: wire::TurnCompleted,
        quota_reset: Option<Duration>,
    ) -> Notified {
        let outcome = match (completed.turn.status.as_str(), completed.turn.error) {
            (_, Some(error)) => failure::outcome(&error, self.usage, quota_reset),
            ("completed", None) => self.completed(),
            ("interrupted", None) => Outcome::Interrupted,
            (_, None) => Outcome::Failed(TurnError::ProviderFailed),
        };
        Ok((Some(Event::Finished(outcome)), self.close()))
    }

    /// An agent may do its work without a word.
    fn completed(&self) -> Outcome {
        if self.request.tools.required {
            return Outcome::Failed(TurnError::ToolNotCalled);
        }
        let silent = !self.said && self.request.profile == Profile::Chat;
        Outcome::Completed {
            stop: if silent {
                FinishReason::Refused
            } else {
                FinishReason::Stop
            },
            usage: self.usage,
        }
    }

    fn unless_unwanted(&mut self, phase: Phase, next: Next) -> Next {
        if self.unwanted {
            return self.close();
        }
        self.phase = phase;
        next
    }

    fn close(&mut self) -> Next {
        self.phase = Phase::Closing;
        Next::Unsubscribe
    }
}
