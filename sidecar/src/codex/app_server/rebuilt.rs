//! Threads that are rebuilt from a rollout file: `thread/resume` in place of `thread/start`, and the file in place of raw events,
//! which Codex does not send for them.

use serde_json::value::RawValue;
use sha2::{Digest as _, Sha256};

use super::calls::Call;
use super::error::AppServerError;
use super::ids::{ThreadId, TurnKey};
use super::session::{AppServerSession, SessionOutput};
use super::thread::Thread;
use super::wire::{self, RebuiltThread};
use crate::turn::{Tool, TurnRequest};

/// Sets of tools that are remembered as accepted, at 32 bytes each.
pub(super) const ACCEPTED_TOOLS: usize = 256;

/// Returns the tools in the form of `thread/start`; `None` without tools.
pub(in crate::codex) fn tools_json(offered: &[Tool]) -> Option<Box<RawValue>> {
    if offered.is_empty() {
        return None;
    }
    let tools = wire::dynamic_tools(offered);
    Some(serde_json::value::to_raw_value(&tools).expect("the tools have string keys"))
}

/// Returns a SHA-256 hash of the tools; `None` without tools.
fn hash_of(offered: &[Tool]) -> Option<[u8; 32]> {
    let tools = tools_json(offered)?;
    Some(Sha256::digest(tools.get()).into())
}

impl AppServerSession {
    /// Begins a turn under a new `key`, on a thread that is rebuilt from a rollout file.
    ///
    /// Codex checks the tools of `thread/start`, and drops those that it rejects there from a rollout file without a word. Tools
    /// that the child has not accepted before are therefore offered to a thread that is given up at once.
    pub(in crate::codex) fn begin_rebuilt(
        &mut self,
        key: TurnKey,
        request: TurnRequest,
        rebuilt: RebuiltThread,
    ) -> SessionOutput {
        let tools = hash_of(&request.tools.offered);
        let is_checked = tools.is_none_or(|tools| self.accepted_tools.contains(&tools));
        let start = wire::ThreadStart::new(&request, None);
        if !is_checked {
            self.call(Call::ThreadStart(key), &start);
        }
        let mut thread = Thread::new(request, self.keeps_threads, self.now);
        thread.rebuild = Some(rebuilt);
        self.threads.insert(key, thread);
        if is_checked {
            self.resume(key);
        }
        self.take_output()
    }

    /// Handles a new thread that was started to check the tools of a rebuilt one. Whether it is one.
    pub(super) fn on_tools_checked(&mut self, key: TurnKey, checked: &ThreadId) -> bool {
        let Some(thread) = self.threads.get(&key) else {
            return false;
        };
        if thread.rebuild.is_none() || thread.is_cancelled() {
            return false;
        }
        if let Some(tools) = hash_of(&thread.request.tools.offered) {
            if self.accepted_tools.len() >= ACCEPTED_TOOLS {
                self.accepted_tools.clear();
            }
            self.accepted_tools.insert(tools);
        }
        self.discard(checked);
        self.resume(key);
        true
    }

    fn resume(&mut self, key: TurnKey) {
        let Some(thread) = self.threads.get(&key) else {
            return;
        };
        if let Some(rebuilt) = &thread.rebuild {
            let params = wire::ThreadResume::new(&thread.request, rebuilt);
            let line = self
                .calls
                .enqueue(Call::ThreadResume(key), &params, self.now);
            self.output.write.extend(line);
        }
    }

    /// Handles the result of `thread/resume`.
    pub(super) fn on_thread_resumed(&mut self, key: TurnKey, resumed: wire::ResumedThread) {
        let wire::ResumedThread { id, session_id } = resumed;
        let expected = self
            .threads
            .get(&key)
            .and_then(|thread| thread.rebuild.as_ref());
        let is_ours = expected.is_some_and(|expected| {
            id.0 == expected.id && session_id.as_ref() == Some(&expected.session)
        });
        if !is_ours {
            self.discard(&id);
            self.start_instead(key);
            return;
        }
        self.output.rebuilt.push((key, true));
        self.keys.insert(id.clone(), key);
        self.advance(key, |thread| {
            thread.is_rebuilt = true;
            thread.on_thread_started(id)
        });
    }

    /// Starts a new thread in place of one that could not be rebuilt.
    pub(super) fn start_instead(&mut self, key: TurnKey) {
        self.output.rebuilt.push((key, false));
        let Some(thread) = self.threads.get_mut(&key) else {
            return;
        };
        thread.rebuild = None;
        let start = wire::ThreadStart::new(&thread.request, None);
        let line = self.calls.enqueue(Call::ThreadStart(key), &start, self.now);
        self.output.write.extend(line);
    }

    /// Ends a rebuilt thread that Codex does not delete. The sidecar removes its file.
    pub(super) fn unsubscribe_instead(&mut self, key: TurnKey) {
        let id = self.threads.get(&key).and_then(Thread::id).cloned();
        if let Some(id) = id {
            let params = wire::AboutOneThread { thread_id: &id };
            self.call(Call::ThreadUnsubscribe(key), &params);
        }
    }

    /// Returns the turn with a rollout file that may have records from before `line`.
    pub(in crate::codex) fn rollout_before(&self, line: &str) -> Option<TurnKey> {
        let key = *self.keys.get(wire::thread_of(line)?.as_ref())?;
        let thread = self.threads.get(&key)?;
        thread.is_rebuilt.then_some(key)
    }

    /// Returns the turns with rollout files that are about to have the end of a response, which Codex does not report while a tool
    /// call is open.
    pub(in crate::codex) fn awaited_rollouts(&self) -> Vec<TurnKey> {
        self.keys_of(|thread| thread.is_rebuilt && thread.awaits_end_of_response())
    }

    /// Reads lines that Codex has added to the rollout file of a turn.
    ///
    /// # Errors
    /// An item does not have the shape of the protocol.
    pub(in crate::codex) fn read_rollout(
        &mut self,
        key: TurnKey,
        lines: &str,
    ) -> Result<SessionOutput, AppServerError> {
        if let Some(thread) = self.threads.get_mut(&key) {
            thread.records.push(lines);
        }
        self.handle_records(key, take_ready)?;
        Ok(self.take_output())
    }

    /// Handles the records that come before a notification about a rebuilt thread.
    pub(super) fn handle_records_before(
        &mut self,
        key: TurnKey,
        method: &str,
    ) -> Result<(), AppServerError> {
        // Codex sends these after the last notification about an item of the response.
        match method {
            "thread/tokenUsage/updated" | "turn/completed" => {
                self.handle_records(key, |thread| thread.records.take())
            }
            _ => Ok(()),
        }
    }

    /// Handles the records that have waited for a notification about a rebuilt thread.
    pub(super) fn handle_records_after(
        &mut self,
        key: TurnKey,
        method: &str,
        params: &str,
    ) -> Result<(), AppServerError> {
        let Some(thread) = self
            .threads
            .get_mut(&key)
            .filter(|thread| thread.is_rebuilt)
        else {
            return Ok(());
        };
        if method == "item/completed" {
            let completed: wire::CompletedItemId =
                serde_json::from_str(params).map_err(AppServerError::InvalidMessage)?;
            thread.records.on_completed(completed.item.id);
        }
        self.handle_records(key, take_ready)
    }

    /// Handles the records that have waited for the request of a tool call.
    ///
    /// # Errors
    /// An item does not have the shape of the protocol.
    pub(super) fn on_call_requested(
        &mut self,
        key: TurnKey,
        call_id: &str,
    ) -> Result<(), AppServerError> {
        match self.threads.get_mut(&key) {
            Some(thread) if thread.is_rebuilt => {
                thread.records.on_completed(call_id.to_owned());
                self.handle_records(key, take_ready)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn handle_records(
        &mut self,
        key: TurnKey,
        next: impl Fn(&mut Thread) -> Option<String>,
    ) -> Result<(), AppServerError> {
        let now = self.now;
        while let Some(thread) = self.threads.get_mut(&key)
            && let Some(line) = next(thread)
        {
            if let Some(record) = wire::RolloutRecord::parse(&line) {
                let reaction = thread
                    .on_record(record, now)
                    .map_err(AppServerError::InvalidMessage)?;
                self.apply(key, reaction);
            }
        }
        Ok(())
    }
}

fn take_ready(thread: &mut Thread) -> Option<String> {
    thread.records.take_ready(&thread.request.tools.offered)
}
