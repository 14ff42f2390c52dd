//! The steps of a proof: a template from a thread of the child, then for two models what a new thread and a rebuilt one ask
//! for, and what the rollout file has of an answer.

use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::value::RawValue;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

use super::client::ProofClient;
use super::error::ProofError;
use super::provider::{LocalProvider, ModelRequest};
use crate::codex::app_server::RolloutRecord;
use crate::codex::conversation::id::{ConversationId, SessionId};
use crate::codex::conversation::rollout::{Rollout, RolloutPlace};
use crate::codex::conversation::template::{RolloutFields, RolloutTemplate};

/// The name of the provider of a proof in Codex's configuration.
const PROVIDER: &str = "codex-edge-proof";

/// Arguments of the proof's tool call; their white space and the form of the number show that the text is kept.
const ARGUMENTS: &str = "{ \"city\":  \"Oslo\", \"n\": 1.0 }";

/// Time for a file of Codex to appear or to be complete; it took some milliseconds.
const FILE_TIMEOUT: Duration = Duration::from_secs(5);

/// Time between two looks at a file.
const FILE_POLL: Duration = Duration::from_millis(5);

struct ProofRun {
    client: ProofClient,
    provider: LocalProvider,
    home: PathBuf,
}

/// Runs a proof of the child with this home.
///
/// # Errors
/// A rebuilt thread differs from a new one.
pub(super) async fn run(home: PathBuf, client: ProofClient) -> Result<RolloutTemplate, ProofError> {
    let provider = LocalProvider::start().await?;
    let mut run = ProofRun {
        client,
        provider,
        home,
    };
    let (first, last) = run.models().await?;
    let template = run.template(&first).await?;
    // Also with a model that the template is not from.
    for model in [&first, &last] {
        let new = run.ask_new_thread(model).await?;
        run.ask_rebuilt_thread(&template, model, &new).await?;
    }
    Ok(template)
}

impl ProofRun {
    /// Returns the first and the last model of Codex's list.
    async fn models(&mut self) -> Result<(String, String), ProofError> {
        let list = self.client.call("model/list", json!({})).await?;
        let models = list["data"].as_array();
        let name = |model: Option<&Value>| Some(model?["model"].as_str()?.to_owned());
        let first = name(models.and_then(|models| models.first()));
        let last = name(models.and_then(|models| models.last()));
        first
            .zip(last)
            .ok_or(ProofError::Different("`model/list` has no models"))
    }

    /// Returns the template from a thread that is stored on disk. Codex writes it once the thread has an item; the model is not
    /// asked.
    async fn template(&mut self, model: &str) -> Result<RolloutTemplate, ProofError> {
        let started = self
            .client
            .call("thread/start", self.start(model, false))
            .await?;
        let (thread, path) = (&started["thread"]["id"], &started["thread"]["path"]);
        let missing = ProofError::Different("a stored thread has no file");
        let (Some(thread), Some(path)) = (thread.as_str(), path.as_str()) else {
            return Err(missing);
        };
        self.inject(thread).await?;
        let read = || RolloutTemplate::parse(&std::fs::read_to_string(path).ok()?);
        let template = poll(read).await;
        self.delete(thread, Path::new(path)).await?;
        template.ok_or(ProofError::Different("the rollout file has another format"))
    }

    /// Returns what a new thread asks for.
    async fn ask_new_thread(&mut self, model: &str) -> Result<ModelRequest, ProofError> {
        let started = self
            .client
            .call("thread/start", self.start(model, true))
            .await?;
        let thread = id_of(&started)?;
        self.inject(&thread).await?;
        self.start_turn(&thread).await?;
        let text = json!({"type": "output_text", "text": "ok"});
        let message =
            json!({"type": "message", "role": "assistant", "id": "msg_1", "content": [text]});
        let request = self.answer(&thread, &[message]).await?;
        self.client.wait_for("turn/completed", &thread).await?;
        let params = json!({"threadId": thread});
        self.client.call("thread/unsubscribe", params).await?;
        Ok(request)
    }

    /// Checks that a rebuilt thread asks for the same as `new`, and that its file has the model's answer.
    async fn ask_rebuilt_thread(
        &mut self,
        template: &RolloutTemplate,
        model: &str,
        new: &ModelRequest,
    ) -> Result<(), ProofError> {
        let session = SessionId::from(ConversationId::random());
        let place = RolloutPlace::new(&self.home);
        let thread = place.thread.clone();
        let tools: Box<RawValue> =
            serde_json::from_str(&tools().to_string()).map_err(io::Error::from)?;
        let text = template.render(&RolloutFields {
            thread: &thread,
            session: &session,
            model,
            provider: PROVIDER,
            tools: Some(&tools),
        });
        let mut rollout = place.write(&text)?;
        let resumed = self
            .client
            .call("thread/resume", self.resume(model, &thread, &rollout))
            .await?;
        let is_ours = resumed["thread"]["id"] == thread.as_str()
            && resumed["thread"]["sessionId"] == session.0.as_str();
        if !is_ours {
            return Err(ProofError::Different("a rebuilt thread has another id"));
        }
        self.inject(&thread).await?;
        rollout.skip();
        let turn = self.start_turn(&thread).await?;
        let request = self.answer(&thread, &answer_with_call()).await?;
        if !asks_for_same(new, &request, &session) {
            return Err(ProofError::Different(
                "a rebuilt thread asks the model for something else",
            ));
        }
        self.client.wait_for("item/tool/call", &thread).await?;
        check_records(&mut rollout, &turn).await?;
        let params = json!({"threadId": thread, "turnId": turn});
        self.client.call("turn/interrupt", params).await?;
        self.client.wait_for("turn/completed", &thread).await?;
        self.delete(&thread, rollout.path()).await?;
        if self.provider.has_request() {
            return Err(ProofError::Different(
                "a rebuilt thread asks the model twice",
            ));
        }
        Ok(())
    }

    /// Answers the request of a thread's turn.
    async fn answer(&mut self, thread: &str, items: &[Value]) -> Result<ModelRequest, ProofError> {
        // Both are cancel safe: a turn that the provider has not answered sends nothing that the proof reads later.
        tokio::select! {
            request = self.provider.answer(items) => {
                request.ok_or(ProofError::Silent("`turn/start`: the sidecar's provider was not asked"))
            }
            ended = self.client.wait_for("turn/completed", thread) => {
                ended?;
                Err(ProofError::Unreachable)
            }
        }
    }

    async fn inject(&mut self, thread: &str) -> Result<(), ProofError> {
        let params = json!({"threadId": thread, "items": items()});
        self.client.call("thread/inject_items", params).await?;
        Ok(())
    }

    /// Starts a turn, and returns its id.
    async fn start_turn(&mut self, thread: &str) -> Result<String, ProofError> {
        let params = json!({"threadId": thread, "input": [], "summary": "auto"});
        let started = self.client.call("turn/start", params).await?;
        let id = started["turn"]["id"].as_str();
        id.map(str::to_owned)
            .ok_or(ProofError::Different("`turn/start` has no turn"))
    }

    /// Deletes a stored thread, with its file.
    async fn delete(&mut self, thread: &str, path: &Path) -> Result<(), ProofError> {
        let params = json!({"threadId": thread});
        self.client.call("thread/delete", params).await?;
        let is_gone = poll(|| (!path.exists()).then_some(())).await;
        is_gone.ok_or(ProofError::Different("the file of a deleted thread stays"))
    }

    fn start(&self, model: &str, is_ephemeral: bool) -> Value {
        json!({
            "ephemeral": is_ephemeral,
            "model": model,
            "approvalPolicy": "never",
            "sandbox": "read-only",
            "baseInstructions": "",
            "environments": [],
            "dynamicTools": tools(),
            "config": self.config(),
        })
    }

    fn resume(&self, model: &str, thread: &str, rollout: &Rollout) -> Value {
        json!({
            "threadId": thread,
            "path": rollout.path(),
            "excludeTurns": true,
            "model": model,
            "approvalPolicy": "never",
            "sandbox": "read-only",
            "baseInstructions": "",
            "config": self.config(),
        })
    }

    /// Returns the configuration of a thread that asks the sidecar's provider.
    fn config(&self) -> Value {
        let provider = json!({
            "name": PROVIDER,
            "base_url": self.provider.url(),
            "wire_api": "responses",
            "requires_openai_auth": false,
            "request_max_retries": 0,
            "stream_max_retries": 0,
        });
        json!({
            "model_provider": PROVIDER,
            format!("model_providers.{PROVIDER}"): provider,
            "model_verbosity": "low",
        })
    }
}

fn id_of(started: &Value) -> Result<String, ProofError> {
    let id = started["thread"]["id"].as_str();
    id.map(str::to_owned)
        .ok_or(ProofError::Different("`thread/start` has no thread"))
}

/// Tools of each kind that clients have.
fn tools() -> Value {
    let schema = json!({"type": "object", "properties": {"n": {"type": "number"}, "city": {"type": "string"}}});
    let tool = |name: &str| json!({"type": "function", "name": name, "description": "A proof.", "inputSchema": schema});
    json!([
        tool("weather"),
        {"type": "namespace", "name": "client_proof", "description": "Proofs.", "tools": [tool("other")]},
    ])
}

/// Items of each kind that clients have.
fn items() -> Value {
    let text = |kind: &str, text: &str| json!([{"type": kind, "text": text}]);
    json!([
        {"type": "message", "role": "developer", "content": text("input_text", "Instructions.")},
        {"type": "message", "role": "user", "content": text("input_text", "First message.")},
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "Thought."}], "encrypted_content": "proof"},
        {"type": "message", "role": "assistant", "content": text("output_text", "Answer.")},
        {"type": "function_call", "call_id": "proof_1", "name": "weather", "arguments": "{}"},
        {"type": "function_call_output", "call_id": "proof_1", "output": "cold"},
        {"type": "message", "role": "user", "content": text("input_text", "Second message.")},
    ])
}

/// Returns an answer with a reasoning item and a tool call.
fn answer_with_call() -> [Value; 2] {
    [
        json!({"type": "reasoning", "id": "rs_1", "summary": [], "encrypted_content": "proof-answer"}),
        json!({"type": "function_call", "id": "fc_1", "call_id": "proof_2", "name": "weather", "arguments": ARGUMENTS}),
    ]
}

/// Whether two threads ask the model for the same, the rebuilt one with its session id.
fn asks_for_same(new: &ModelRequest, rebuilt: &ModelRequest, session: &SessionId) -> bool {
    let key = rebuilt.body["prompt_cache_key"].as_str();
    key == Some(&session.0)
        && rebuilt.session.as_deref() == Some(&session.0)
        && without_ids(new) == without_ids(rebuilt)
}

/// Returns the body of a request without what differs from thread to thread.
fn without_ids(request: &ModelRequest) -> Value {
    let mut body = request.body.clone();
    if let Some(fields) = body.as_object_mut() {
        fields.remove("prompt_cache_key");
        fields.remove("client_metadata");
    }
    let items = body.get_mut("input").and_then(Value::as_array_mut);
    for item in items.into_iter().flatten().filter_map(Value::as_object_mut) {
        item.remove("id");
    }
    body
}

/// Checks that the file has the items of the answer as the provider sent them, then the end of the response.
async fn check_records(rollout: &mut Rollout, turn: &str) -> Result<(), ProofError> {
    let mut read = String::new();
    let deadline = Instant::now() + FILE_TIMEOUT;
    while Instant::now() < deadline {
        read.push_str(&rollout.read_new()?);
        if let Some(items) = answer_in(&read, turn) {
            return if is_answer_with_call(&items) {
                Ok(())
            } else {
                Err(ProofError::Different("the rollout file has another answer"))
            };
        }
        sleep(FILE_POLL).await;
    }
    Err(ProofError::Different(
        "the rollout file does not have the end of an answer",
    ))
}

/// Whether these are the items of the answer with a call, in what the session reads of them.
fn is_answer_with_call(items: &[Value]) -> bool {
    let [reasoning, call] = answer_with_call();
    let [read_reasoning, read_call] = items else {
        return false;
    };
    let fields = ["type", "call_id", "name", "arguments"];
    read_reasoning["encrypted_content"] == reasoning["encrypted_content"]
        && fields.iter().all(|field| read_call[*field] == call[*field])
}

/// Returns the items of a turn, once its response has ended.
fn answer_in(text: &str, turn: &str) -> Option<Vec<Value>> {
    let mut items = Vec::new();
    for record in text.lines().filter_map(RolloutRecord::parse) {
        match record {
            RolloutRecord::Item { turn_id, item } if turn_id == turn => {
                items.push(serde_json::from_str(item.get()).ok()?);
            }
            RolloutRecord::ResponseEnd { turn_id, .. } if turn_id == turn => return Some(items),
            RolloutRecord::Item { .. } | RolloutRecord::ResponseEnd { .. } => {}
        }
    }
    None
}

/// Calls `look` until it returns a value. `None` after the deadline.
async fn poll<T>(look: impl Fn() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + FILE_TIMEOUT;
    loop {
        if let Some(found) = look() {
            return Some(found);
        }
        if Instant::now() >= deadline {
            return None;
        }
        sleep(FILE_POLL).await;
    }
}
