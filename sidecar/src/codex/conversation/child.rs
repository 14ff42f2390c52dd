//! The rebuilt threads of one child, with their rollout files, and the child's proof.

use std::collections::HashMap;
use std::future::pending;
use std::path::PathBuf;
use std::sync::Arc;

use super::conversations::Conversations;
use super::id::{ConversationId, SessionId};
use super::proof::Proof;
use super::rollout::{Rollout, RolloutPlace};
use super::template::RolloutFields;
use crate::codex::app_server::{RebuiltThread, TurnKey, tools_json};
use crate::turn::TurnRequest;

/// A child for chats, as far as its threads can be rebuilt.
pub(in crate::codex) struct ChildConversations {
    shared: Arc<Conversations>,
    home: PathBuf,
    /// The name of the provider in the child's configuration.
    provider: String,
    /// The generation of the list of models that the child has read.
    generation: u64,
    proof: Option<Proof>,
    /// Whether the child has started its only proof.
    has_tried: bool,
    /// The conversations of turns.
    turns: HashMap<TurnKey, ConversationId>,
    /// The files of turns on rebuilt threads.
    rollouts: HashMap<TurnKey, Rollout>,
}

impl ChildConversations {
    pub(in crate::codex) fn new(
        shared: Arc<Conversations>,
        home: PathBuf,
        provider: String,
        generation: u64,
    ) -> Self {
        Self {
            shared,
            home,
            provider,
            generation,
            proof: None,
            has_tried: false,
            turns: HashMap::new(),
            rollouts: HashMap::new(),
        }
    }

    /// Starts the proof, if no child with the same list of models has ended one. The child has completed its handshake.
    pub(in crate::codex) fn prove(&mut self) {
        if !self.has_tried && self.shared.needs_proof(self.generation) {
            self.has_tried = true;
            self.proof = Some(Proof::start(self.home.clone()));
        }
    }

    /// Returns the next line of the proof for the child; an empty one at the end of the proof. Cancel safe.
    pub(in crate::codex) async fn next_line(&mut self) -> Vec<u8> {
        let Some(proof) = &mut self.proof else {
            return pending().await;
        };
        match proof.next().await {
            Ok(line) => line,
            Err(result) => {
                self.proof = None;
                self.shared.on_proof(self.generation, result);
                Vec::new()
            }
        }
    }

    /// Takes a line of the child if it is for the proof.
    pub(in crate::codex) fn takes(&mut self, line: &str) -> bool {
        self.proof.as_mut().is_some_and(|proof| proof.takes(line))
    }

    /// Whether the turn waits for the end of the proof, which decides about its thread.
    pub(in crate::codex) fn holds(&self, client: &str, request: &TurnRequest) -> bool {
        self.proof.is_some() && request.has_answer() && self.shared.id(client, request).is_some()
    }

    /// Forgets the session id of the conversation's last thread here, since another sidecar has rebuilt the thread under the
    /// conversation's own id.
    pub(in crate::codex) fn forget_session(&self, client: &str, request: &TurnRequest) {
        if let Some(conversation) = self.shared.id(client, request) {
            self.shared.forget(conversation);
        }
    }

    /// Prepares a turn. Returns the thread to rebuild, if the conversation has had one.
    pub(in crate::codex) fn begin(
        &mut self,
        key: TurnKey,
        client: &str,
        request: &TurnRequest,
    ) -> Option<RebuiltThread> {
        let conversation = self.shared.id(client, request)?;
        self.turns.insert(key, conversation);
        if !request.has_answer() {
            return None;
        }
        let (thread, rollout) = self.write_rollout(conversation, request)?;
        self.rollouts.insert(key, rollout);
        Some(thread)
    }

    fn write_rollout(
        &self,
        conversation: ConversationId,
        request: &TurnRequest,
    ) -> Option<(RebuiltThread, Rollout)> {
        let template = self.shared.template(self.generation)?;
        let session = self.shared.session(conversation);
        let place = RolloutPlace::new(&self.home);
        let id = place.thread.clone();
        let text = template.render(&RolloutFields {
            thread: &id,
            session: &session,
            model: &request.model.name,
            provider: &self.provider,
            tools: tools_json(&request.tools.offered).as_deref(),
        });
        let rollout = place
            .write(&text)
            .inspect_err(|error| tracing::warn!(%error, "rollout file not written"))
            .ok()?;
        let thread = RebuiltThread {
            id,
            session: session.0,
            path: rollout.path().to_owned(),
        };
        Some((thread, rollout))
    }

    /// Takes the id of the new thread of a turn, by which a later request of its conversation is sent.
    pub(in crate::codex) fn on_started(&mut self, key: TurnKey, thread: String) {
        if let Some(conversation) = self.turns.get(&key) {
            self.shared.remember(*conversation, SessionId(thread));
        }
    }

    /// Takes the result of a rebuild.
    pub(in crate::codex) fn on_rebuilt(&mut self, key: TurnKey, accepted: bool) {
        self.shared.on_rebuilt(accepted);
        if !accepted {
            self.rollouts.remove(&key);
        }
    }

    /// Takes the key of the next turn of a thread that stays loaded.
    pub(in crate::codex) fn on_continued(&mut self, earlier: TurnKey, key: TurnKey) {
        if let Some(conversation) = self.turns.remove(&earlier) {
            self.turns.insert(key, conversation);
        }
        if let Some(rollout) = self.rollouts.remove(&earlier) {
            self.rollouts.insert(key, rollout);
        }
    }

    /// Skips the records of the injected history.
    pub(in crate::codex) fn on_injected(&mut self, key: TurnKey) {
        if let Some(rollout) = self.rollouts.get_mut(&key) {
            rollout.skip();
        }
    }

    /// Returns the lines that Codex has added to the rollout file of a turn; an empty text if the file cannot be read.
    pub(in crate::codex) fn read_rollout(&mut self, key: TurnKey) -> String {
        let Some(rollout) = self.rollouts.get_mut(&key) else {
            return String::new();
        };
        rollout.read_new().unwrap_or_else(|error| {
            tracing::warn!(%error, "rollout file not read");
            String::new()
        })
    }

    /// Whether a turn is on a rebuilt thread.
    pub(in crate::codex) fn has_rollouts(&self) -> bool {
        !self.rollouts.is_empty()
    }

    /// Forgets a turn that the child has no state of any more, and removes its file.
    pub(in crate::codex) fn on_closed(&mut self, key: TurnKey) {
        self.turns.remove(&key);
        self.rollouts.remove(&key);
    }
}
