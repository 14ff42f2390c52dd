//! The session with one `codex app-server` process: handshake, login, calls, and the threads of its turns.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::ahead::ThreadsAhead;
use super::calls::{Call, Calls};
use super::decoding::DecodeQueue;
use super::error::AppServerError;
use super::ids::{RequestId, ThreadId, TurnKey};
use super::thread::{
    CallRequested, Continuation, KeptThread, NewItems, Next, Reaction, Thread, ToolResponse,
};
use super::{requests, wire};
use crate::codex::launch::sandbox::Workspace;
use crate::codex::rate_limits::SharedRateLimits;
use crate::turn::{Digest, Event, Outcome, ToolCall, TurnError, TurnRequest};

/// Time that a turn may run on after its interrupt; Codex took 2 to 5 ms.
pub(super) const INTERRUPT_TIMEOUT: Duration = Duration::from_secs(2);

/// Time without a further tool call after which a turn's calls are complete, for a Codex without raw items.
/// `tick` is called about once a second.
const CALLS_QUIET: Duration = Duration::from_secs(2);

/// Time that Codex may wait for the output of a tool call before the sidecar sends an empty one.
pub(super) const TOOL_OUTPUT_PATIENCE: Duration = Duration::from_secs(10);

/// Time between two checks of a missing login.
pub(super) const LOGIN_POLL: Duration = Duration::from_secs(2);

/// The state of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::codex) enum SessionState {
    /// The handshake is not complete.
    Starting,
    /// Turns may begin.
    Ready,
    /// The handshake is complete, but Codex has no login.
    LoginRequired,
}

/// The result of a line, a new turn, an interrupt, or the passing of time.
#[derive(Debug, Default)]
pub(in crate::codex) struct SessionOutput {
    /// Lines for the child, with their line breaks.
    pub(in crate::codex) write: Vec<Vec<u8>>,
    /// Events by turn.
    pub(in crate::codex) events: Vec<(TurnKey, Event)>,
    /// Turns with a new thread, and Codex's id of it.
    pub(in crate::codex) started: Vec<(TurnKey, String)>,
    /// Turns with a thread that Codex has rebuilt, or rejected.
    pub(in crate::codex) rebuilt: Vec<(TurnKey, bool)>,
    /// Turns on rebuilt threads that have their history.
    pub(in crate::codex) injected: Vec<TurnKey>,
    /// Turns that have ended for their clients, with threads that stay loaded.
    pub(in crate::codex) kept: Vec<KeptThread>,
    /// Turns that the child has no state of any more.
    pub(in crate::codex) closed: Vec<TurnKey>,
}

/// The sidecar's side of the protocol with one `codex app-server` process.
#[derive(Debug)]
pub(in crate::codex) struct AppServerSession {
    pub(super) state: SessionState,
    /// Time of the last `tick`; the session has no clock of its own.
    pub(super) now: Instant,
    pub(super) calls: Calls,
    /// Whether threads stay loaded for the next request of their conversation.
    pub(super) keeps_threads: bool,
    pub(super) threads: HashMap<TurnKey, Thread>,
    pub(super) keys: HashMap<ThreadId, TurnKey>,
    pub(super) stuck_threads: usize,
    /// The hashes of the sets of tools that the child has accepted for rebuilt threads.
    pub(super) accepted_tools: HashSet<[u8; 32]>,
    pub(super) ahead: ThreadsAhead,
    /// The turns with large images.
    decoding: DecodeQueue,
    login_checked_at: Instant,
    /// The provider rejects the login. This child never reads another one; only its successor does.
    pub(super) login_revoked: bool,
    rate_limits: SharedRateLimits,
    pub(super) output: SessionOutput,
}

impl AppServerSession {
    /// Starts a session. The output has its first line.
    pub(in crate::codex) fn start(
        rate_limits: SharedRateLimits,
        now: Instant,
    ) -> (Self, SessionOutput) {
        let mut session = Self {
            state: SessionState::Starting,
            now,
            calls: Calls::default(),
            keeps_threads: false,
            threads: HashMap::new(),
            keys: HashMap::new(),
            stuck_threads: 0,
            accepted_tools: HashSet::new(),
            ahead: ThreadsAhead::default(),
            decoding: DecodeQueue::default(),
            login_checked_at: now,
            login_revoked: false,
            rate_limits,
            output: SessionOutput::default(),
        };
        session.call(Call::Initialize, &wire::initialize());
        let output = session.take_output();
        (session, output)
    }

    /// Keeps threads loaded for the next request of their conversation.
    pub(in crate::codex) fn keep_threads(&mut self) {
        self.keeps_threads = true;
    }

    /// Returns the state of the session.
    pub(in crate::codex) fn state(&self) -> SessionState {
        self.state
    }

    /// Returns the number of threads that the child did not end when asked to, and so keeps in memory.
    pub(in crate::codex) fn stuck_threads(&self) -> usize {
        self.stuck_threads
    }

    /// Begins a turn under a new `key`. A turn with a workspace has the agent profile.
    pub(in crate::codex) fn begin(
        &mut self,
        key: TurnKey,
        request: TurnRequest,
        workspace: Option<&Workspace>,
    ) -> SessionOutput {
        let request = match workspace {
            None => match self.begin_ahead(key, request) {
                Ok(()) => return self.take_output(),
                Err(request) => *request,
            },
            Some(_) => request,
        };
        let start = wire::ThreadStart::new(&request, workspace);
        self.call(Call::ThreadStart(key), &start);
        let stays_loaded = self.keeps_threads && workspace.is_none();
        let thread = Thread::new(request, stays_loaded, self.now);
        self.threads.insert(key, thread);
        self.take_output()
    }

    /// Starts at most `limit` threads ahead.
    pub(in crate::codex) fn start_threads_ahead(&mut self, limit: usize) {
        self.ahead = ThreadsAhead::new(limit);
    }

    /// Begins a turn of the chat profile on a thread that was started ahead. Returns the request if no such
    /// thread is there.
    fn begin_ahead(&mut self, key: TurnKey, request: TurnRequest) -> Result<(), Box<TurnRequest>> {
        let Some(settings) = request.digest.prefix(0) else {
            return Err(Box::new(request));
        };
        let thread = self.ahead.take(settings);
        let start = || wire::ThreadStart::new(&request, None);
        if let Some(given_up) = self.ahead.note(settings, start) {
            self.discard(&given_up);
        }
        let Some(id) = thread else {
            return Err(Box::new(request));
        };
        let started = Thread::new(request, self.keeps_threads, self.now);
        self.threads.insert(key, started);
        self.on_thread_started(key, id);
        Ok(())
    }

    /// Starts the next thread ahead, at the end of a turn, so that it does not delay one.
    fn start_next_ahead(&mut self) {
        if let Some((settings, start)) = self.ahead.next() {
            self.call(Call::StartAhead(settings), &start);
        }
    }

    /// Handles a thread that was started ahead.
    pub(super) fn on_started_ahead(&mut self, settings: Digest, thread: ThreadId) {
        if let Some(given_up) = self.ahead.on_started(settings, thread) {
            self.discard(&given_up);
        }
        self.start_next_ahead();
    }

    /// Ends a thread without a turn in Codex.
    pub(super) fn discard(&mut self, thread_id: &ThreadId) {
        self.call(Call::Discard, &wire::AboutOneThread { thread_id });
    }

    /// Begins a turn under a new `key`, on the thread of an earlier one.
    ///
    /// # Errors
    /// The child has no such thread any more, or the thread cannot be continued; the request begins a thread of its own.
    #[expect(
        clippy::result_large_err,
        reason = "the caller goes on with the request"
    )]
    pub(in crate::codex) fn continue_thread(
        &mut self,
        key: TurnKey,
        request: TurnRequest,
        continuation: Continuation,
    ) -> Result<SessionOutput, TurnRequest> {
        let earlier = continuation.thread;
        let Some(thread) = self.threads.remove(&earlier) else {
            return Err(request);
        };
        let (thread, items) = match thread.continue_with(request, continuation, self.now) {
            Ok(continued) => continued,
            Err((thread, request)) => {
                self.threads.insert(earlier, thread);
                let now = self.now;
                self.advance(earlier, |thread| thread.give_up_kept(now));
                return Err(request);
            }
        };
        let id = thread.id().cloned();
        self.threads.insert(key, thread);
        if let Some(id) = id {
            self.keys.insert(id.clone(), key);
            match items {
                NewItems::Injected => self.perform(key, Next::InjectItems(id)),
                NewItems::Outputs(responses) => {
                    self.output.events.push((key, Event::Heartbeat));
                    self.respond(&responses);
                }
            }
        }
        Ok(self.take_output())
    }

    /// Answers `item/tool/call` requests.
    fn respond(&mut self, responses: &[ToolResponse]) {
        let lines = responses
            .iter()
            .map(|(id, text)| requests::tool_output_line(id, text));
        self.output.write.extend(lines);
    }

    /// Gives up a thread that stays loaded, if it has not been continued.
    pub(in crate::codex) fn give_up(&mut self, key: TurnKey) -> SessionOutput {
        let now = self.now;
        self.advance(key, |thread| thread.give_up_kept(now));
        self.take_output()
    }

    /// Interrupts a turn. A turn that is over already is left alone.
    pub(in crate::codex) fn interrupt(&mut self, key: TurnKey) -> SessionOutput {
        let now = self.now;
        self.advance(key, |thread| thread.interrupt(now));
        self.take_output()
    }

    /// Advances the clock: overdue calls fail, and a missing login is checked again. Called about once a second.
    ///
    /// # Errors
    /// The child cannot be used any longer.
    pub(in crate::codex) fn tick(&mut self, now: Instant) -> Result<SessionOutput, AppServerError> {
        self.now = now;
        for call in self.calls.take_overdue(now, self.decoding.current()) {
            // Each overdue call frees a place for a queued one.
            self.send_queued();
            self.on_timeout(call)?;
        }
        self.give_up_stuck_turns();
        self.finish_turns_with_calls();
        self.answer_stale_requests();
        if self.state == SessionState::LoginRequired
            && now.duration_since(self.login_checked_at) > LOGIN_POLL
        {
            self.check_login();
        }
        Ok(self.take_output())
    }

    /// Reads one line of the child.
    ///
    /// # Errors
    /// The child violated the protocol and cannot be used any longer.
    pub(in crate::codex) fn read_line(
        &mut self,
        line: &str,
    ) -> Result<SessionOutput, AppServerError> {
        // Most lines are text deltas, so they are parsed in one pass instead of two.
        if let Some(text) = wire::TextDelta::parse(line) {
            self.on_text(text);
            return Ok(self.take_output());
        }
        let incoming: wire::Incoming<'_> =
            serde_json::from_str(line).map_err(AppServerError::InvalidMessage)?;
        match (incoming.method.as_deref(), incoming.id) {
            (Some(method), Some(id)) => self.on_request(method, id, incoming.params)?,
            (Some(method), None) => self.on_notification(method, incoming.params)?,
            (None, Some(id)) => self.on_response(id, incoming.result, incoming.error)?,
            (None, None) => {}
        }
        Ok(self.take_output())
    }

    pub(super) fn take_output(&mut self) -> SessionOutput {
        std::mem::take(&mut self.output)
    }

    pub(super) fn call(&mut self, call: Call, params: &impl Serialize) {
        let line = self.calls.enqueue(call, params, self.now);
        self.output.write.extend(line);
    }

    pub(super) fn send_queued(&mut self) {
        let line = self.calls.next_line(self.now);
        self.output.write.extend(line);
    }

    /// Gives up turns that still run after their interrupt.
    fn give_up_stuck_turns(&mut self) {
        let now = self.now;
        let is_stuck = |at: Instant| now.duration_since(at) > INTERRUPT_TIMEOUT;
        for key in self.keys_of(|thread| thread.interrupted_at().is_some_and(is_stuck)) {
            tracing::warn!("turn still running after interrupt");
            self.advance(key, Thread::give_up);
            self.stuck_threads += 1;
        }
    }

    /// Finishes turns with tool calls of a Codex without raw items, which does not report the end of a model response.
    fn finish_turns_with_calls(&mut self) {
        let now = self.now;
        let is_quiet = |at: Instant| now.duration_since(at) >= CALLS_QUIET;
        for key in self.keys_of(|thread| thread.unannounced_call_at.is_some_and(is_quiet)) {
            if let Some(thread) = self.threads.get_mut(&key) {
                let reaction = thread.finish_with_calls(None, now);
                self.apply(key, reaction);
            }
        }
    }

    pub(super) fn keys_of(&self, is_wanted: impl Fn(&Thread) -> bool) -> Vec<TurnKey> {
        self.threads
            .iter()
            .filter(|(_, thread)| is_wanted(thread))
            .map(|(key, _)| *key)
            .collect()
    }

    fn answer_stale_requests(&mut self) {
        let now = self.now;
        let lines = self
            .threads
            .values_mut()
            .flat_map(|thread| thread.take_stale_requests(now, TOOL_OUTPUT_PATIENCE))
            .map(|id| requests::response_line(&id, requests::NO_TOOL_OUTPUT));
        self.output.write.extend(lines);
    }

    pub(super) fn check_login(&mut self) {
        self.login_checked_at = self.now;
        let params = serde_json::json!({"includeToken": false, "refreshToken": false});
        self.call(Call::AuthStatus, &params);
    }

    /// Checks whether a ChatGPT login was revoked. `getAuthStatus` does not show that: the child keeps reporting the
    /// login that it has read.
    fn check_account(&mut self) {
        // Many turns may fail at once, and one check answers for all of them.
        if !self.calls.is_pending(Call::AccountRead) {
            self.call(Call::AccountRead, &serde_json::json!({}));
        }
    }

    fn on_text(&mut self, text: wire::TextDelta<'_>) {
        let Some(&key) = self.keys.get(text.thread_id.as_ref()) else {
            return;
        };
        if let Some(thread) = self.threads.get_mut(&key) {
            let event = thread.on_text(text.delta, self.now);
            self.output.events.push((key, event));
        }
    }

    fn on_notification(
        &mut self,
        method: &str,
        params: Option<&RawValue>,
    ) -> Result<(), AppServerError> {
        let params = params.map_or("null", RawValue::get);
        if method == "account/rateLimits/updated" {
            self.on_rate_limits(params);
            return Ok(());
        }
        let Ok(wire::AboutThread { thread_id }) = serde_json::from_str(params) else {
            return Ok(());
        };
        let Some(&key) = self.keys.get(thread_id.as_ref()) else {
            return Ok(());
        };
        self.handle_records_before(key, method)?;
        let (now, quota_reset) = (self.now, self.rate_limits.read().resets_in());
        let Some(thread) = self.threads.get_mut(&key) else {
            return Ok(());
        };
        let reaction = thread
            .on_notification(method, params, quota_reset, now)
            .map_err(AppServerError::InvalidMessage)?;
        let unauthorized = Event::Finished(Outcome::Failed(TurnError::Unauthorized));
        if reaction.events.contains(&unauthorized) {
            self.check_account();
        }
        self.apply(key, reaction);
        self.handle_records_after(key, method, params)
    }

    fn on_rate_limits(&self, params: &str) {
        if let Ok(wire::RateLimitsUpdated { rate_limits }) = serde_json::from_str(params) {
            self.rate_limits.report(rate_limits.into());
        }
    }

    /// Handles a request of the child: a call of a client's tool stays open, every other request is declined.
    fn on_request(
        &mut self,
        method: &str,
        id: &RawValue,
        params: Option<&RawValue>,
    ) -> Result<(), AppServerError> {
        let params = params.map_or("null", RawValue::get);
        let id = RequestId(id.get().to_owned());
        let tool_call: Option<wire::ToolCallRequest> = match method {
            "item/tool/call" => serde_json::from_str(params).ok(),
            _ => None,
        };
        let known =
            tool_call.and_then(|call| Some((*self.keys.get(call.thread_id.as_str())?, call)));
        let Some((key, call)) = known else {
            tracing::warn!(method, "request of codex declined");
            let line = requests::response_line(&id, requests::decline(method));
            self.output.write.push(line);
            return Ok(());
        };
        let call = ToolCall::from(call);
        self.on_call_requested(key, &call.call_id)?;
        if let Some(thread) = self.threads.get_mut(&key) {
            match thread.on_tool_call(id, call, self.now) {
                CallRequested::Answered(response) => self.respond(&[response]),
                CallRequested::Open(event) => {
                    self.output.events.extend(event.map(|event| (key, event)));
                }
            }
        }
        Ok(())
    }

    pub(super) fn fail(&mut self, key: TurnKey, error: TurnError) {
        // The event first: `closed` drops the turn's event writer.
        let finished = Event::Finished(Outcome::Failed(error));
        self.output.events.push((key, finished));
        self.advance(key, Thread::give_up);
        self.finish_decoding(key);
    }

    /// Lets the next turn with large images go on.
    pub(super) fn finish_decoding(&mut self, key: TurnKey) {
        if let Some(next) = self.decoding.finish(key) {
            self.advance(next, Thread::on_decoding_admitted);
        }
    }

    /// Returns the turn with the large images that the child decodes.
    pub(in crate::codex) fn decoding(&self) -> Option<TurnKey> {
        self.decoding.current()
    }

    /// Takes the turns that the child has not asked the model for, with their requests.
    pub(in crate::codex) fn take_unasked(&mut self) -> Vec<(TurnKey, TurnRequest)> {
        let unasked = self.threads.extract_if(|_, thread| thread.is_unasked());
        unasked.map(|(key, thread)| (key, thread.request)).collect()
    }

    pub(super) fn advance(&mut self, key: TurnKey, transition: impl FnOnce(&mut Thread) -> Next) {
        let Some(thread) = self.threads.get_mut(&key) else {
            return;
        };
        let next = transition(thread);
        self.perform(key, next);
    }

    pub(super) fn apply(&mut self, key: TurnKey, reaction: Reaction) {
        let events = reaction.events.into_iter().map(|event| (key, event));
        self.output.events.extend(events);
        self.perform(key, reaction.next);
    }

    /// Makes the call that a thread asks for.
    fn perform(&mut self, key: TurnKey, next: Next) {
        let Some(thread) = self.threads.get(&key) else {
            return;
        };
        let (calls, now) = (&mut self.calls, self.now);
        let line = match next {
            Next::Wait => None,
            Next::InjectItems(_) if thread.has_large_images() && !self.decoding.admit(key) => None,
            Next::InjectItems(id) => {
                calls.enqueue(Call::InjectItems(key), &thread.inject_items(&id), now)
            }
            Next::StartTurn(id) => {
                calls.enqueue(Call::TurnStart(key), &thread.turn_start(&id), now)
            }
            Next::Interrupt(thread_id, turn_id) => {
                let params = wire::TurnInterrupt { thread_id, turn_id };
                calls.enqueue(Call::TurnInterrupt(key), &params, now)
            }
            Next::Unsubscribe(thread_id) => {
                let call = if thread.is_rebuilt {
                    Call::ThreadDelete(key)
                } else {
                    Call::ThreadUnsubscribe(key)
                };
                let params = wire::AboutOneThread {
                    thread_id: &thread_id,
                };
                calls.enqueue(call, &params, now)
            }
            Next::Keep => {
                let thread = self.threads.get_mut(&key);
                let kept = thread.and_then(|thread| thread.take_kept(key));
                self.output.kept.extend(kept);
                self.start_next_ahead();
                return;
            }
            Next::Forget => {
                self.close(key);
                None
            }
        };
        self.output.write.extend(line);
    }

    pub(super) fn close(&mut self, key: TurnKey) {
        if let Some(thread) = self.threads.remove(&key) {
            if let Some(id) = thread.id() {
                self.keys.remove(id);
            }
            self.output.closed.push(key);
        }
        self.start_next_ahead();
        self.finish_decoding(key);
    }
}
