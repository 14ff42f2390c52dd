//! A proof that runs beside the session of its child, and the division of the child's lines between the two.

use std::collections::HashSet;
use std::path::PathBuf;

use serde::Deserialize;
use serde_json::value::RawValue;
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::client::{ID_PREFIX, ProofClient};
use super::error::ProofError;
use super::script;
use crate::codex::conversation::template::RolloutTemplate;

/// Lines that may wait for the proof; a turn of it has about 20, and the proof reads them at once.
const CAPACITY: usize = 1024;

/// A proof in progress. Dropping it ends the proof without a result.
pub(in crate::codex) struct Proof {
    /// Lines for the child.
    lines: mpsc::Receiver<Vec<u8>>,
    from_child: mpsc::Sender<String>,
    /// The ids of the threads of the proof.
    threads: HashSet<String>,
    /// The task of the script. Its end closes `lines`.
    script: JoinSet<Result<RolloutTemplate, ProofError>>,
}

/// The fields by which a line is the proof's.
#[derive(Deserialize)]
struct Line<'a> {
    #[serde(borrow)]
    id: Option<&'a RawValue>,
    params: Option<AboutThread>,
    result: Option<StartedThread>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AboutThread {
    thread_id: Option<String>,
}

#[derive(Deserialize)]
struct StartedThread {
    thread: Option<IdentifiedThread>,
}

#[derive(Deserialize)]
struct IdentifiedThread {
    id: String,
}

impl Proof {
    /// Starts a proof of the child with this home, which has completed its handshake.
    pub(in crate::codex) fn start(home: PathBuf) -> Self {
        let (to_child, lines) = mpsc::channel(CAPACITY);
        let (from_child, received) = mpsc::channel(CAPACITY);
        let client = ProofClient::new(to_child, received);
        let mut script = JoinSet::new();
        script.spawn(script::run(home, client));
        Self {
            lines,
            from_child,
            threads: HashSet::new(),
            script,
        }
    }

    /// Returns the next line for the child, or the result. Cancel safe.
    pub(in crate::codex) async fn next(
        &mut self,
    ) -> Result<Vec<u8>, Result<RolloutTemplate, ProofError>> {
        // The last lines come before the result, which closes the channel.
        match self.lines.recv().await {
            Some(line) => Ok(line),
            None => Err(match self.script.join_next().await {
                Some(Ok(result)) => result,
                Some(Err(_)) | None => Err(ProofError::Ended),
            }),
        }
    }

    /// Takes a line of the child if it is for the proof.
    pub(in crate::codex) fn takes(&mut self, line: &str) -> bool {
        let is_proofs = self.is_proofs(line);
        if is_proofs {
            // Fails when the proof has ended; a full channel makes it fail.
            self.from_child.try_send(line.to_owned()).ok();
        }
        is_proofs
    }

    fn is_proofs(&mut self, line: &str) -> bool {
        let Ok(line) = serde_json::from_str::<Line<'_>>(line) else {
            return false;
        };
        let id = line.id.map_or("", RawValue::get);
        if id.trim_start_matches('"').starts_with(ID_PREFIX) {
            let thread = line.result.and_then(|result| result.thread);
            self.threads.extend(thread.map(|thread| thread.id));
            return true;
        }
        let thread = line.params.and_then(|params| params.thread_id);
        thread.is_some_and(|thread| self.threads.contains(&thread))
    }
}
