//! The protocol of `codex app-server` as a state machine without IO: lines in, lines and events out.
//! Codex app-server, protocol v2, as Codex 0.169 speaks it; one ephemeral thread a turn, many turns at once.

use std::collections::HashMap;
use std::time::Duration;

use serde::Serialize;
use serde_json::value::RawValue;
use tokio::time::Instant;

use super::calls::{Call, Calls};
use super::thread::{Next, Thread};
use super::wire;
use crate::codex::launch::sandbox::Workspace;
use crate::codex::rate_limits::SharedRateLimits;
use crate::turn::{Event, Outcome, TurnError, TurnRequest};

/// Time that a turn may go on after its interrupt; 2 to 5 ms were seen.
pub(super) const INTERRUPT_DEADLINE: Duration = Duration::from_secs(2);

/// Time without a further call after which the calls of a turn are all that come, where nothing else says
/// so. Time passes in steps of about a second.
const CALLS_QUIET: Duration = Duration::from_secs(2);

/// Silence after which a child that waits for what came of a call is told that nothing did.
pub(super) const CALLS_PATIENCE: Duration = Duration::from_secs(10);

/// What is said of a call whose output the child shall not wait for.
const NO_OUTPUT: &str = r#""result":{"contentItems":[],"success":false}"#;

/// Time between two looks at whether Codex has been logged in.
pub(super) const LOGIN_POLL: Duration = Duration::from_secs(2);

/// Names a turn on one child.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(in crate::codex) struct TurnKey(pub(in crate::codex) u64);

/// What the child can do now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::codex) enum State {
    /// The handshake is not over.
    Starting,
    /// Turns may begin.
    Ready,
    /// The handshake is over, but there is no credential.
    LoginRequired,
}

/// What follows from a line, a new turn, or the passing of time.
#[derive(Debug, Default)]
pub(in crate::codex) struct Step {
    /// Lines for the child, each with its end.
    pub(in crate::codex) write: Vec<Vec<u8>>,
    /// What happened in which turn.
    pub(in crate::codex) events: Vec<(TurnKey, Event)>,
    /// Turns of which the child knows nothing any more.
    pub(in crate::codex) closed: Vec<TurnKey>,
}

/// The child broke its protocol and cannot be used any longer.
#[derive(Debug, thiserror::Error)]
pub(in crate::codex) enum ProtocolError {
    #[error("a line is not a JSON-RPC message")]
    NotAMessage(#[source] serde_json::Error),
    #[error("the answer to {method} has another shape than expected")]
    UnexpectedAnswer {
        method: &'static str,
        #[source]
        source: serde_json::Error,
    },
    #[error("{method} was refused: {message} ({code})")]
    Refused {
        method: &'static str,
        code: i64,
        message: String,
    },
    #[error("{0} was not answered in time")]
    Silent(&'static str),
}

/// One `codex app-server` process, seen from the other end of its pipes.
#[derive(Debug)]
pub(in crate::codex) struct AppServer {
    state: State,
    now: Instant,
    calls: Calls,
    threads: HashMap<TurnKey, Thread>,
    keys: HashMap<String, TurnKey>,
    stuck_threads: usize,
    login_looked_at: Instant,
    /// The provider takes it no more; only another child will have another one.
    login_lost: bool,
    plan: SharedRateLimits,
    step: Step,
}

impl AppServer {
    /// The protocol from its first line on, which is in the step.
    pub(in crate::codex) fn start(plan: SharedRateLimits, now: Instant) -> (Self, Step) {
        let mut this = Self {
            state: State::Starting,
            now,
            calls: Calls::default(),
            threads: HashMap::new(),
            keys: HashMap::new(),
            stuck_threads: 0,
            login_looked_at: now,
            login_lost: false,
            plan,
            step: Step::default(),
        };
        this.call(Call::Initialize, &wire::initialize());
        let step = this.take_step();
        (this, step)
    }

    /// What the child can do now.
    pub(in crate::codex) fn state(&self) -> State {
        self.state
    }

    /// Threads that the child did not end when it was told to; it keeps them in memory.
    pub(in crate::codex) fn stuck_threads(&self) -> usize {
        self.stuck_threads
    }

    /// Begins a turn; `key` must be new. With a workspace it is an agent's.
    pub(in crate::codex) fn begin(
        &mut self,
        key: TurnKey,
        request: TurnRequest,
        workspace: Option<&Workspace>,
    ) -> Step {
        let start = wire::ThreadStart::new(&request, workspace);
        self.call(Call::ThreadStart(key), &start);
        self.threads.insert(key, Thread::new(request, self.now));
        self.take_step()
    }

    /// Ends a turn early. Does nothing when it is over already.
    pub(in crate::codex) fn interrupt(&mut self, key: TurnKey) -> Step {
        let now = self.now;
        self.advance(key, |thread| thread.interrupt(now));
        self.take_step()
    }

    /// Lets time pass: overdue calls fail, and a missing login is looked for again. To be called about once a second.
    ///
    /// # Errors
    /// The child is of no more use.
    pub(in crate::codex) fn tick(&mut self, now: Instant) -> Result<Step, ProtocolError> {
        self.now = now;
        for call in self.calls.overdue(now) {
            self.send_next();
            self.on_silence(call)?;
        }
        self.give_up_uninterruptible();
        self.end_quiet_callers();
        self.answer_stale_requests();
        if self.state == State::LoginRequired
            && now.duration_since(self.login_looked_at) > LOGIN_POLL
        {
            self.look_at_login();
        }
        Ok(self.take_step())
    }

    /// Reads one line of the child.
    ///
    /// # Errors
    /// The child broke its protocol and is of no more use.
    pub(in crate::codex) fn read_line(&mut self, line: &str) -> Result<Step, ProtocolError> {
        if let Some(text) = wire::TextDelta::parse(line) {
            self.on_text(text);
            return Ok(self.take_step());
        }
        let incoming: wire::Incoming<'_> =
            serde_json::from_str(line).map_err(ProtocolError::NotAMessage)?;
        match (incoming.method.as_deref(), incoming.id) {
            (Some(method), Some(id)) => self.on_request(method, id, incoming.params),
            (Some(method), None) => self.on_notification(method, incoming.params)?,
            (None, Some(id)) => self.on_answer(id, incoming.result, incoming.error)?,
            (None, None) => {}
        }
        Ok(self.take_step())
    }

    fn take_step(&mut self) -> Step {
        std::mem::take(&mut self.step)
    }

    fn call(&mut self, call: Call, params: &impl Serialize) {
        let line = self.calls.make(call, params, self.now);
        self.step.write.extend(line);
    }

    fn send_next(&mut self) {
        let line = self.calls.next_line(self.now);
        self.step.write.extend(line);
    }

    fn on_answer(
        &mut self,
        id: &RawValue,
        result: Option<&RawValue>,
        error: Option<wire::CallError>,
    ) -> Result<(), ProtocolError> {
        let Some(call) = self.calls.answered(id.get()) else {
            return Ok(()); // Late: the call was given up before.
        };
        self.send_next();
        match error {
            Some(error) => self.on_refusal(call, error),
            None => self.on_result(call, result.map_or("null", RawValue::get)),
        }
    }

    fn on_result(&mut self, call: Call, result: &str) -> Result<(), ProtocolError> {
        match call {
            Call::Initialize => {
                self.step
                    .write
                    .push(b"{\"method\":\"initialized\"}\n".to_vec());
                self.look_at_login();
            }
            Call::AuthStatus => {
                let status: wire::AuthStatus = parse_answer(call, result)?;
                let open =
                    status.auth_method.is_some() || status.requires_openai_auth == Some(false);
                let open = open && !self.login_lost;
                self.state = if open {
                    State::Ready
                } else {
                    State::LoginRequired
                };
            }
            Call::AccountRead => {
                let account: wire::AccountRead = parse_answer(call, result)?;
                if account.account.is_none() && account.requires_openai_auth == Some(true) {
                    self.login_lost = true;
                    self.state = State::LoginRequired;
                }
            }
            Call::ThreadStart(key) => {
                let wire::ThreadStarted { thread } = parse_answer(call, result)?;
                self.keys.insert(thread.id.clone(), key);
                self.advance(key, |this| this.on_thread(thread.id));
            }
            Call::InjectItems(key) => self.advance(key, Thread::on_injected),
            Call::TurnStart(key) => {
                let wire::TurnStarted { turn } = parse_answer(call, result)?;
                self.step.events.push((key, Event::Heartbeat));
                let now = self.now;
                self.advance(key, |thread| thread.on_turn(turn.id, now));
            }
            Call::TurnInterrupt(_) => {}
            Call::ThreadUnsubscribe(key) => self.close(key),
        }
        Ok(())
    }

    fn on_refusal(&mut self, call: Call, error: wire::CallError) -> Result<(), ProtocolError> {
        match call {
            Call::Initialize | Call::AuthStatus => Err(ProtocolError::Refused {
                method: call.method(),
                code: error.code,
                message: error.message,
            }),
            Call::ThreadStart(key) | Call::InjectItems(key) | Call::TurnStart(key) => {
                tracing::warn!(
                    method = call.method(),
                    code = error.code,
                    reason = error.message,
                    "call refused"
                );
                let failure = if error.code == wire::OVERLOADED {
                    TurnError::Busy
                } else {
                    TurnError::Protocol
                };
                self.fail(key, failure);
                Ok(())
            }
            Call::AccountRead => Ok(()), // It asks the network, which may be the very thing that fails.
            Call::TurnInterrupt(_) => Ok(()), // The turn was over before us; its end is on its way.
            Call::ThreadUnsubscribe(key) => {
                self.close(key);
                Ok(())
            }
        }
    }

    fn on_silence(&mut self, call: Call) -> Result<(), ProtocolError> {
        match call {
            Call::Initialize | Call::AuthStatus => {
                return Err(ProtocolError::Silent(call.method()));
            }
            Call::ThreadStart(key) | Call::InjectItems(key) | Call::TurnStart(key) => {
                self.fail(key, TurnError::Protocol)
            }
            Call::TurnInterrupt(key) => self.fail(key, TurnError::Protocol),
            Call::ThreadUnsubscribe(key) => self.close(key),
            Call::AccountRead => return Ok(()),
        }
        tracing::warn!(method = call.method(), "call not answered in time");
        self.stuck_threads += 1;
        Ok(())
    }

    /// Turns that were interrupted and go on all the same.
    fn give_up_uninterruptible(&mut self) {
        let now = self.now;
        let stuck: Vec<TurnKey> = self
            .threads
            .iter()
            .filter(|(_, thread)| {
                thread
                    .interrupted_at()
                    .is_some_and(|at| now.duration_since(at) > INTERRUPT_DEADLINE)
            })
            .map(|(key, _)| *key)
            .collect();
        for key in stuck {
            tracing::warn!("turn goes on after its interrupt");
            self.advance(key, Thread::give_up);
            self.stuck_threads += 1;
        }
    }

    /// Turns of a Codex without raw items, which does not say when a response of the model is over.
    fn end_quiet_callers(&mut self) {
        let now = self.now;
        let is_quiet = |at: Instant| now.duration_since(at) >= CALLS_QUIET;
        let quiet = self.threads.iter();
        let quiet = quiet.filter(|(_, thread)| thread.asked_at().is_some_and(is_quiet));
        let keys: Vec<TurnKey> = quiet.map(|(key, _)| *key).collect();
        for key in keys {
            let Some(thread) = self.threads.get_mut(&key) else {
                continue;
            };
            let (finished, next) = thread.end_with_calls(None, now);
            self.step.events.push((key, finished));
            self.follow(key, next);
        }
    }

    fn answer_stale_requests(&mut self) {
        let now = self.now;
        let threads = self.threads.values_mut();
        let stale = threads.flat_map(|thread| thread.stale_requests(now, CALLS_PATIENCE));
        let lines = stale.map(|id| answer(&id, NO_OUTPUT));
        self.step.write.extend(lines);
    }

    fn look_at_login(&mut self) {
        self.login_looked_at = self.now;
        let params = serde_json::json!({"includeToken": false, "refreshToken": false});
        self.call(Call::AuthStatus, &params);
    }

    fn on_text(&mut self, text: wire::TextDelta<'_>) {
        let Some(&key) = self.keys.get(text.thread_id.as_ref()) else {
            return;
        };
        if let Some(thread) = self.threads.get_mut(&key) {
            let event = thread.on_text(text.delta, self.now);
            self.step.events.push((key, event));
        }
    }

    fn on_notification(
        &mut self,
        method: &str,
        params: Option<&RawValue>,
    ) -> Result<(), ProtocolError> {
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
        let (now, quota_reset) = (self.now, self.plan.read().reopens_in());
        let Some(thread) = self.threads.get_mut(&key) else {
            return Ok(());
        };
        let (event, next) = thread
            .on_notification(method, params, quota_reset, now)
            .map_err(ProtocolError::NotAMessage)?;
        let refused = Event::Finished(Outcome::Failed(TurnError::Unauthorized));
        if event.as_ref() == Some(&refused) {
            self.look_at_account();
        }
        self.step.events.extend(event.map(|event| (key, event)));
        self.follow(key, next);
        Ok(())
    }

    /// A login of ChatGPT that was revoked shows only here: the child claims to have it, and reads no other.
    fn look_at_account(&mut self) {
        if !self.calls.waits_for(Call::AccountRead) {
            self.call(Call::AccountRead, &serde_json::json!({}));
        }
    }

    fn on_rate_limits(&self, params: &str) {
        if let Ok(wire::RateLimitsUpdated { rate_limits }) = serde_json::from_str(params) {
            self.plan.report(rate_limits.into());
        }
    }

    /// A call of a client's tool is left open: the turn is interrupted for it once all its calls are known, and an
    /// answer would make the model go on.
    fn on_request(&mut self, method: &str, id: &RawValue, params: Option<&RawValue>) {
        let params = params.map_or("null", RawValue::get);
        let asked: Option<wire::ToolCallRequest> = match method {
            "item/tool/call" => serde_json::from_str(params).ok(),
            _ => None,
        };
        let ours = asked.and_then(|asked| Some((*self.keys.get(&asked.thread_id)?, asked)));
        let Some((key, asked)) = ours else {
            self.refuse_request(method, id);
            return;
        };
        if let Some(thread) = self.threads.get_mut(&key) {
            let event = thread.on_tool_call(id.get().to_owned(), asked.into(), self.now);
            self.step.events.extend(event.map(|event| (key, event)));
        }
    }

    /// Nothing may ever wait for a human: an unanswered request would block its turn for ever.
    fn refuse_request(&mut self, method: &str, id: &RawValue) {
        tracing::warn!(method, "request of the child refused");
        let refusal = match method {
            "item/commandExecution/requestApproval" | "item/fileChange/requestApproval" => {
                r#""result":{"decision":"decline"}"#
            }
            "item/permissions/requestApproval" => r#""result":{"permissions":{},"scope":"turn"}"#,
            "item/tool/requestUserInput" => r#""result":{"answers":{}}"#,
            "mcpServer/elicitation/request" => {
                r#""result":{"action":"decline","content":null,"_meta":null}"#
            }
            "item/tool/call" => NO_OUTPUT,
            _ => r#""error":{"code":-32601,"message":"not supported by this client"}"#,
        };
        self.step.write.push(answer(id.get(), refusal));
    }

    fn fail(&mut self, key: TurnKey, error: TurnError) {
        self.step
            .events
            .push((key, Event::Finished(Outcome::Failed(error))));
        self.advance(key, Thread::give_up);
    }

    fn advance(&mut self, key: TurnKey, transition: impl FnOnce(&mut Thread) -> Next) {
        let Some(thread) = self.threads.get_mut(&key) else {
            return;
        };
        let next = transition(thread);
        self.follow(key, next);
    }

    /// Makes the call that a thread's transition asks for.
    fn follow(&mut self, key: TurnKey, next: Next) {
        let Some(thread) = self.threads.get(&key) else {
            return;
        };
        let (calls, now) = (&mut self.calls, self.now);
        let line = match next {
            Next::Wait => None,
            Next::Inject => calls.make(Call::InjectItems(key), &thread.inject_items(), now),
            Next::StartTurn => calls.make(Call::TurnStart(key), &thread.turn_start(), now),
            Next::Interrupt => calls.make(Call::TurnInterrupt(key), &thread.turn_interrupt(), now),
            Next::Unsubscribe => {
                calls.make(Call::ThreadUnsubscribe(key), &thread.unsubscribe(), now)
            }
            Next::Close => {
                self.threads.remove(&key);
                self.step.closed.push(key);
                None
            }
        };
        self.step.write.extend(line);
    }

    fn close(&mut self, key: TurnKey) {
        if let Some(thread) = self.threads.remove(&key) {
            self.keys.remove(thread.id());
            self.step.closed.push(key);
        }
    }
}

/// The line that answers a request of the child.
fn answer(id: &str, answer: &str) -> Vec<u8> {
    format!("{{\"id\":{id},{answer}}}\n").into_bytes()
}

fn parse_answer<T: serde::de::DeserializeOwned>(
    call: Call,
    result: &str,
) -> Result<T, ProtocolError> {
    serde_json::from_str(result).map_err(|source| ProtocolError::UnexpectedAnswer {
        method: call.method(),
        source,
    })
}
