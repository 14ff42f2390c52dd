//! The calls of a proof to the child, beside those of the session: their ids are texts.
//! JSON-RPC 2.0 without the `jsonrpc` field, as the app-server speaks it.

use std::time::Duration;

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::time::timeout;

use super::error::ProofError;
use crate::codex::json_line::json_line;

/// Prefix of the ids of calls.
pub(super) const ID_PREFIX: &str = "proof-";

/// Time that Codex has for each answer.
const CALL_TIMEOUT: Duration = Duration::from_secs(10);

/// The proof's end of its lines to and from the child.
pub(super) struct ProofClient {
    pub(super) to_child: mpsc::Sender<Vec<u8>>,
    pub(super) from_child: mpsc::Receiver<String>,
    next_id: u32,
}

#[derive(Deserialize)]
struct Line {
    id: Option<Value>,
    method: Option<String>,
    #[serde(default)]
    params: Value,
    #[serde(default)]
    result: Value,
    error: Option<CallError>,
}

#[derive(Deserialize)]
struct CallError {
    #[serde(default)]
    message: String,
}

impl ProofClient {
    pub(super) fn new(to_child: mpsc::Sender<Vec<u8>>, from_child: mpsc::Receiver<String>) -> Self {
        Self {
            to_child,
            from_child,
            next_id: 0,
        }
    }

    /// Makes a call, and returns its result.
    ///
    /// # Errors
    /// Codex rejected the call, or did not respond in time.
    pub(super) async fn call(
        &mut self,
        method: &'static str,
        params: Value,
    ) -> Result<Value, ProofError> {
        self.next_id += 1;
        let id = format!("{ID_PREFIX}{}", self.next_id);
        let line = json_line(&json!({"id": id, "method": method, "params": params}));
        let sent = self.to_child.send(line).await;
        sent.map_err(|_gone| ProofError::Silent(method))?;
        let id = Value::from(id);
        loop {
            let line = self.next(method).await?;
            if line.id.as_ref() != Some(&id) {
                continue;
            }
            return match line.error {
                Some(CallError { message }) => Err(ProofError::Rejected { method, message }),
                None => Ok(line.result),
            };
        }
    }

    /// Waits for the notification or request `method` of a thread, and returns its parameters.
    ///
    /// # Errors
    /// It does not come in time.
    pub(super) async fn wait_for(
        &mut self,
        method: &'static str,
        thread: &str,
    ) -> Result<Value, ProofError> {
        loop {
            let line = self.next(method).await?;
            let is_wanted = line.method.as_deref() == Some(method);
            if is_wanted && line.params["threadId"] == thread {
                return Ok(line.params);
            }
        }
    }

    async fn next(&mut self, method: &'static str) -> Result<Line, ProofError> {
        let received = timeout(CALL_TIMEOUT, self.from_child.recv()).await;
        let line = received.ok().flatten();
        line.and_then(|line| serde_json::from_str(&line).ok())
            .ok_or(ProofError::Silent(method))
    }
}
