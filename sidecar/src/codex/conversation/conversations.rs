//! What the children of a sidecar share about conversations: the secret, the proven template, and the session ids of
//! conversations that have had a thread.

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;

use super::id::{ConversationId, SessionId};
use super::proof::ProofError;
use super::secret::ConversationSecret;
use super::template::RolloutTemplate;
use crate::error_chain;
use crate::store::SessionIds;
use crate::turn::{Profile, TurnRequest};

/// Characters of a prompt below which the provider caches nothing: 1,024 tokens of four characters. OpenAI API, "Prompt
/// caching".
const SMALLEST_CACHED_CHARS: usize = 1024 * 4;

/// Session ids that are remembered, at about 150 bytes each.
const REMEMBERED: NonZeroUsize = NonZeroUsize::new(4096).expect("not zero");

/// Rejected threads after which no thread is rebuilt any more.
const MAX_REJECTED: u32 = 3;

/// The conversations of all clients.
#[derive(Debug)]
pub(in crate::codex) struct Conversations {
    /// `None` turns the rebuilding of threads off.
    secret: Option<ConversationSecret>,
    /// The session ids that outlive the process.
    kept: SessionIds,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    template: Template,
    /// The session ids that differ from the id of the conversation: a thread of `thread/start` has one of Codex's.
    sessions: LruCache<ConversationId, SessionId>,
    /// Rebuilt threads that Codex has rejected in a row.
    rejected: u32,
    counts: RebuiltCounts,
}

/// The threads that were rebuilt since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RebuiltCounts {
    /// Threads that Codex has rebuilt.
    pub accepted: u64,
    /// Threads that Codex has rejected, so that the turn began a new one.
    pub rejected: u64,
}

#[derive(Debug)]
enum Template {
    /// No proof has ended.
    Unproven,
    /// The template holds for children that have read this generation of the list of models.
    Proven(u64, Arc<RolloutTemplate>),
    /// A rebuilt thread differs from a new one, or Codex rejects rebuilt threads.
    Failed,
}

impl Conversations {
    /// Returns the state without conversations; without a secret no thread is rebuilt.
    pub(in crate::codex) fn new(secret: Option<ConversationSecret>) -> Self {
        Self {
            secret,
            kept: SessionIds::default(),
            state: Mutex::new(State {
                template: Template::Unproven,
                sessions: LruCache::new(REMEMBERED),
                rejected: 0,
                counts: RebuiltCounts::default(),
            }),
        }
    }

    /// Takes the session ids of earlier processes, and keeps those of this one.
    #[must_use]
    pub(in crate::codex) fn kept_in(self, mut kept: SessionIds) -> Self {
        for (id, session) in kept.take_known() {
            let id = ConversationId::from_bytes(id);
            self.lock().sessions.put(id, SessionId(session));
        }
        Self { kept, ..self }
    }

    /// Takes the session id of the request's conversation from the sidecars of a fleet, if its thread may be rebuilt, also after
    /// a proof that has not ended.
    pub(in crate::codex) async fn sync(&self, client: &str, request: &TurnRequest) {
        if !self.kept.is_shared() || !request.has_answer() || self.has_failed() {
            return;
        }
        if let Some(id) = self.id(client, request)
            && let Some(session) = self.kept.shared(id.bytes()).await
        {
            self.lock().sessions.put(id, SessionId(session));
        }
    }

    /// Returns the id of the conversation of `request`; `None` for one without rebuilt threads.
    pub(in crate::codex) fn id(
        &self,
        client: &str,
        request: &TurnRequest,
    ) -> Option<ConversationId> {
        let secret = self.secret.as_ref()?;
        let is_rebuildable = request.profile == Profile::Chat && is_cached(request);
        is_rebuildable.then(|| ConversationId::of(secret, client, request))
    }

    /// Whether a child with this generation of the list of models has to prove that threads can be rebuilt.
    pub(in crate::codex) fn needs_proof(&self, generation: u64) -> bool {
        self.secret.is_some()
            && match self.lock().template {
                Template::Unproven => true,
                Template::Proven(proven, _) => proven != generation,
                Template::Failed => false,
            }
    }

    /// Takes the result of a proof.
    pub(in crate::codex) fn on_proof(
        &self,
        generation: u64,
        result: Result<RolloutTemplate, ProofError>,
    ) {
        let template = match result {
            Ok(template) => Template::Proven(generation, Arc::new(template)),
            Err(error) => {
                tracing::warn!(
                    error = error_chain(&error),
                    "threads are not rebuilt: the provider's prompt cache misses after a restart"
                );
                match error {
                    ProofError::Different(_) => Template::Failed,
                    // Another child may prove it.
                    ProofError::Rejected { .. }
                    | ProofError::Silent(_)
                    | ProofError::Unreachable
                    | ProofError::Io(_)
                    | ProofError::Ended => return,
                }
            }
        };
        self.lock().template = template;
    }

    /// Returns the template for a child with this generation of the list of models, once it is proven.
    pub(in crate::codex) fn template(&self, generation: u64) -> Option<Arc<RolloutTemplate>> {
        match &self.lock().template {
            Template::Proven(proven, template) if *proven == generation => {
                Some(Arc::clone(template))
            }
            Template::Unproven | Template::Proven(..) | Template::Failed => None,
        }
    }

    /// Returns the session id that a rebuilt thread of the conversation gets: that of its last thread, or the conversation's
    /// own id.
    pub(in crate::codex) fn session(&self, id: ConversationId) -> SessionId {
        let remembered = self.lock().sessions.get(&id).cloned();
        remembered.unwrap_or_else(|| id.into())
    }

    /// Whether a sidecar rebuilds the threads that it does not have.
    pub(in crate::codex) fn are_rebuilt(&self) -> bool {
        self.secret.is_some() && matches!(self.lock().template, Template::Proven(..))
    }

    fn has_failed(&self) -> bool {
        matches!(self.lock().template, Template::Failed)
    }

    /// Forgets the session id of a thread of the conversation, so that a rebuilt thread gets the conversation's own id, as on
    /// another sidecar. Those of a fleet share the session id.
    pub(in crate::codex) fn forget(&self, id: ConversationId) {
        if !self.kept.is_shared() && self.lock().sessions.pop(&id).is_some() {
            self.kept.forget(id.bytes());
        }
    }

    /// Remembers the session id of a new thread of the conversation.
    pub(in crate::codex) fn remember(&self, id: ConversationId, session: SessionId) {
        self.kept.keep(id.bytes(), session.0.clone());
        self.lock().sessions.put(id, session);
    }

    /// Takes the result of a rebuild. Codex that keeps rejecting threads is not asked any more.
    pub(in crate::codex) fn on_rebuilt(&self, accepted: bool) {
        let mut state = self.lock();
        if accepted {
            state.counts.accepted += 1;
            state.rejected = 0;
        } else {
            state.counts.rejected += 1;
            state.rejected += 1;
        }
        if state.rejected >= MAX_REJECTED && !matches!(state.template, Template::Failed) {
            tracing::warn!(
                rejected = state.rejected,
                "threads are not rebuilt any more"
            );
            state.template = Template::Failed;
        }
    }

    /// Returns the number of threads that were rebuilt.
    pub(in crate::codex) fn counts(&self) -> RebuiltCounts {
        self.lock().counts
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic while the state is locked leaves it usable: each change is one assignment.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether the prompt is long enough for the provider's cache.
fn is_cached(request: &TurnRequest) -> bool {
    let tools = request
        .tools
        .offered
        .iter()
        .map(|tool| tool.name.len() + tool.description.len() + tool.parameters.get().len());
    tools.sum::<usize>() + request.prompt_chars() >= SMALLEST_CACHED_CHARS
}
