//! What all connections share, and the choice of the script that answers a request.
//! The order of the choice is that of the docs of the parent module.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::demo;
use super::directive;
use super::error::ApiError;
use super::holds::Holds;
use super::log::RequestLog;
use super::request::ModelRequest;
use super::script::Script;

/// What all connections share.
#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) log: RequestLog,
    pub(super) holds: Holds,
    scripts: Mutex<Scripts>,
}

/// Scripts that do not come with a prompt.
#[derive(Debug, Default)]
pub(super) struct Scripts {
    /// Each answers one request, before all others.
    pub(super) queue: VecDeque<Script>,
    /// Answers requests that have no directive.
    pub(super) default: Option<Script>,
}

impl Scripts {
    /// Forgets all scripts.
    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl State {
    /// Scripts that do not come with a prompt.
    pub(super) fn scripts(&self) -> MutexGuard<'_, Scripts> {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next script of the queue, else the directive of the prompt, else the default, else the demo answer.
    ///
    /// # Errors
    /// The refusal of a bad directive.
    pub(super) fn script_for(&self, request: &ModelRequest) -> Result<Script, ApiError> {
        if let Some(script) = self.scripts().queue.pop_front() {
            return Ok(script);
        }
        let prompt = request.last_user_text();
        let directive = directive::find(&prompt, request.round()).map_err(|error| {
            let message = format!("Bad [[model:...]] directive: {error}.");
            ApiError::invalid(Some("input"), message)
        })?;
        if let Some(script) = directive {
            return Ok(script);
        }
        let default = self.scripts().default.clone();
        Ok(default.unwrap_or_else(|| demo::script(request)))
    }
}
