//! State shared by all connections, and the choice of the script for a request.
//! The docs of `scripted_model` state the order of the choice.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::demo;
use super::prompt_cache::PromptCache;
use crate::scripted_model::error::ApiError;
use crate::scripted_model::request::{
    ModelRequest, PromptTokens, Recorder, ServedModels, tokens_of,
};
use crate::scripted_model::script::Script;
use crate::scripted_model::script::directive;
use crate::scripted_model::stream::Holds;

/// State shared by all connections.
#[derive(Debug, Default)]
pub(crate) struct ModelState {
    pub(crate) log: Recorder,
    pub(crate) holds: Holds,
    cache: PromptCache,
    scripts: Mutex<PendingScripts>,
    /// The models that the service serves at its start.
    models: ServedModels,
    /// The only model that the service has not retired; `None` for all of them.
    only: Mutex<Option<String>>,
}

/// Scripts that do not come with a prompt.
#[derive(Debug, Default)]
pub(crate) struct PendingScripts {
    /// The queue; each script is used for one request.
    pub(crate) queue: VecDeque<Script>,
    /// The script for requests without a directive.
    pub(crate) default: Option<Script>,
}

impl PendingScripts {
    /// Deletes all scripts.
    pub(crate) fn clear(&mut self) {
        *self = Self::default();
    }
}

impl ModelState {
    /// The state of a service that serves `models`.
    pub(crate) fn new(models: ServedModels) -> Self {
        Self {
            models,
            ..Self::default()
        }
    }

    /// Retires each model but `model`; `None` brings all of them back.
    pub(crate) fn serve_only(&self, model: Option<String>) {
        *self.only.lock().unwrap_or_else(PoisonError::into_inner) = model;
    }

    /// The models that the service serves now.
    pub(crate) fn served_models(&self) -> ServedModels {
        let only = self.only.lock().unwrap_or_else(PoisonError::into_inner);
        match only.clone() {
            Some(model) => self.models.clone().only(model),
            None => self.models.clone(),
        }
    }

    /// Scripts that do not come with a prompt.
    pub(crate) fn scripts(&self) -> MutexGuard<'_, PendingScripts> {
        self.scripts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts the prompt of a request, and keeps it in the prompt cache; a request without a key is not cached.
    pub(crate) fn count_prompt(&self, request: &ModelRequest) -> PromptTokens {
        let prompt = request.prompt();
        let key = request.prompt_cache_key();
        PromptTokens {
            input: tokens_of(prompt.len()),
            cached: key.map_or(0, |key| self.cache.cached_tokens(key, &prompt)),
        }
    }

    /// The next script of the queue, else the directive of the prompt, else the default, else the demo response.
    ///
    /// # Errors
    /// A 400 if the directive is invalid.
    pub(crate) fn script_for(&self, request: &ModelRequest) -> Result<Script, ApiError> {
        if let Some(script) = self.scripts().queue.pop_front() {
            return Ok(script);
        }
        let prompt = request.last_user_text();
        let directive = directive::find(&prompt, request.round()).map_err(|error| {
            let message = format!("Invalid [[model:...]] directive: {error}.");
            ApiError::invalid(message).at("input")
        })?;
        if let Some(script) = directive {
            return Ok(script);
        }
        let default = self.scripts().default.clone();
        Ok(default.unwrap_or_else(|| demo::script(request)))
    }
}
