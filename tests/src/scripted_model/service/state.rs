//! What all connections share, and the choice of the script that answers a request.
//! The order of the choice is that of the docs of the parent module.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::demo;
use crate::scripted_model::error::ApiError;
use crate::scripted_model::request::ModelRequest;
use crate::scripted_model::request::RequestLog;
use crate::scripted_model::script::Script;
use crate::scripted_model::script::directive;
use crate::scripted_model::stream::Holds;

/// What all connections share.
#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) log: RequestLog,
    pub(crate) holds: Holds,
    scripts: Mutex<Scripts>,
}

/// Scripts that do not come with a prompt.
#[derive(Debug, Default)]
pub(crate) struct Scripts {
    /// Each answers one request, before all others.
    pub(crate) queue: VecDeque<Script>,
    /// Answers requests that have no directive.
    pub(crate) default: Option<Script>,
}

impl Scripts {
    /// Forgets all scripts.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl State {
    /// Scripts that do not come with a prompt.
    pub(crate) fn scripts(&self) -> MutexGuard<'_, Scripts> {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next script of the queue, else the directive of the prompt, else the default, else the demo answer.
    ///
    /// # Errors
    /// The refusal of a bad directive.
    pub(crate) fn script_for(&self, request: &ModelRequest) -> Result<Script, ApiError> {
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
