//! Responses of the child to the session's calls, and calls without a response.

use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::calls::Call;
use super::error::AppServerError;
use super::failure::call_error;
use super::ids::{ThreadId, TurnKey};
use super::session::{AppServerSession, SessionState};
use super::thread::Thread;
use super::wire;
use crate::turn::{Event, TurnError};

impl AppServerSession {
    /// Handles a response of the child: a result or an error.
    ///
    /// # Errors
    /// The child cannot be used any longer.
    pub(super) fn on_response(
        &mut self,
        id: &RawValue,
        result: Option<&RawValue>,
        error: Option<wire::CallError>,
    ) -> Result<(), AppServerError> {
        let Some(call) = self.calls.take_pending(id.get()) else {
            return Ok(()); // Late: the call has timed out.
        };
        self.send_queued();
        match error {
            Some(error) => self.on_call_error(call, error),
            None => self.on_result(call, result.map_or("null", RawValue::get)),
        }
    }

    fn on_result(&mut self, call: Call, result: &str) -> Result<(), AppServerError> {
        match call {
            Call::Initialize => {
                // A notification, which has no response, so it is not in `calls`.
                let line = b"{\"method\":\"initialized\"}\n".to_vec();
                self.output.write.push(line);
                self.check_login();
            }
            Call::AuthStatus => self.on_auth_status(&parse_result(call, result)?),
            Call::AccountRead => self.on_account(&parse_result(call, result)?),
            Call::ThreadStart(key) => {
                let wire::ThreadStarted { thread } = parse_result(call, result)?;
                if self.on_tools_checked(key, &thread.id) {
                    return Ok(());
                }
                self.on_thread_started(key, thread.id);
            }
            Call::StartAhead(settings) => {
                let wire::ThreadStarted { thread } = parse_result(call, result)?;
                self.on_started_ahead(settings, thread.id);
            }
            Call::ThreadResume(key) => {
                let wire::ThreadResumed { thread } = parse_result(call, result)?;
                self.on_thread_resumed(key, thread);
            }
            Call::InjectItems(key) => {
                if self
                    .threads
                    .get(&key)
                    .is_some_and(|thread| thread.is_rebuilt)
                {
                    self.output.injected.push(key);
                }
                self.advance(key, Thread::on_items_injected);
                self.finish_decoding(key);
            }
            Call::TurnStart(key) => {
                let wire::TurnStarted { turn } = parse_result(call, result)?;
                self.output.events.push((key, Event::Heartbeat));
                let now = self.now;
                self.advance(key, |thread| thread.on_turn_started(turn.id, now));
            }
            Call::TurnInterrupt(_) | Call::Discard => {} // `turn/completed` ends the turn, not this result.
            Call::ThreadUnsubscribe(key) | Call::ThreadDelete(key) => self.close(key),
        }
        Ok(())
    }

    /// Begins the turn on its thread.
    pub(super) fn on_thread_started(&mut self, key: TurnKey, thread: ThreadId) {
        self.output.started.push((key, thread.0.clone()));
        self.keys.insert(thread.clone(), key);
        self.advance(key, |this| this.on_thread_started(thread));
    }

    fn on_auth_status(&mut self, status: &wire::AuthStatus) {
        let has_login = status.auth_method.is_some() || status.requires_openai_auth == Some(false);
        self.state = if has_login && !self.login_revoked {
            SessionState::Ready
        } else {
            SessionState::LoginRequired
        };
    }

    fn on_account(&mut self, account: &wire::AccountRead) {
        if account.account.is_none() && account.requires_openai_auth == Some(true) {
            self.login_revoked = true;
            self.state = SessionState::LoginRequired;
        }
    }

    fn on_call_error(&mut self, call: Call, error: wire::CallError) -> Result<(), AppServerError> {
        match call {
            Call::Initialize | Call::AuthStatus => Err(AppServerError::Rejected {
                method: call.method(),
                code: error.code,
                message: error.message,
            }),
            Call::ThreadStart(key) | Call::InjectItems(key) | Call::TurnStart(key) => {
                tracing::warn!(
                    method = call.method(),
                    code = error.code,
                    reason = error.message,
                    "call rejected by codex"
                );
                self.fail(key, call_error(call, &error));
                Ok(())
            }
            // `account/read` needs the network, which may be what made the turn fail: the login is not known to be bad.
            Call::AccountRead => Ok(()),
            Call::ThreadResume(key) => {
                tracing::warn!(
                    code = error.code,
                    reason = error.message,
                    "thread not rebuilt"
                );
                self.start_instead(key);
                Ok(())
            }
            Call::StartAhead(settings) => {
                self.ahead.forget(settings);
                Ok(())
            }
            // The turn was over first; its `turn/completed` is on the way.
            Call::TurnInterrupt(_) | Call::Discard => Ok(()),
            Call::ThreadUnsubscribe(key) => {
                self.close(key);
                Ok(())
            }
            Call::ThreadDelete(key) => {
                tracing::warn!(
                    code = error.code,
                    reason = error.message,
                    "thread not deleted"
                );
                self.unsubscribe_instead(key);
                Ok(())
            }
        }
    }

    /// Handles a call without a response in time.
    ///
    /// # Errors
    /// The child cannot be used any longer.
    pub(super) fn on_timeout(&mut self, call: Call) -> Result<(), AppServerError> {
        match call {
            Call::Initialize | Call::AuthStatus => {
                return Err(AppServerError::Timeout(call.method()));
            }
            Call::ThreadStart(key)
            | Call::ThreadResume(key)
            | Call::InjectItems(key)
            | Call::TurnStart(key) => self.fail(key, TurnError::Protocol),
            Call::TurnInterrupt(key) => self.fail(key, TurnError::Protocol),
            Call::ThreadUnsubscribe(key) | Call::ThreadDelete(key) => self.close(key),
            Call::Discard => {}
            Call::StartAhead(settings) => self.ahead.forget(settings),
            Call::AccountRead => return Ok(()), // Waits for the network, and holds no thread.
        }
        tracing::warn!(method = call.method(), "call timed out");
        self.stuck_threads += 1;
        Ok(())
    }
}

fn parse_result<T: DeserializeOwned>(call: Call, result: &str) -> Result<T, AppServerError> {
    serde_json::from_str(result).map_err(|source| AppServerError::UnexpectedResult {
        method: call.method(),
        source,
    })
}
