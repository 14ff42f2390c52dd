//! Recorded requests, and the delivery of their responses.
//! The memory is bounded: the oldest requests are dropped first.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::request::Parts;
use http::{HeaderMap, Method, Uri};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::model_request::{headers_json, is_additional_tools, offered_tools};
use super::prompt::PromptTokens;

/// A request as the model received it.
#[derive(Clone, Debug)]
pub struct RecordedRequest {
    /// The method.
    pub method: Method,
    /// The path, without a query.
    pub path: String,
    /// The headers.
    pub headers: HeaderMap,
    /// The body as JSON; null when it is not JSON.
    pub body: Value,
    /// Size of the body on the wire.
    pub body_bytes: usize,
    /// The token counts of its prompt; absent until a stream begins, and for a request that gets an error.
    pub prompt: Option<PromptTokens>,
    /// Time at which the whole body had been received.
    pub at: SystemTime,
    /// The delivery of the response.
    pub delivery: Delivery,
}

/// The delivery of a response.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// The response is not complete yet.
    Running,
    /// The script was played to its end, a cut by the script included.
    Done,
    /// The client closed the connection before the end of the response.
    CutByClient {
        /// Time at which the disconnect was detected.
        at: SystemTime,
    },
}

impl RecordedRequest {
    /// Whether the client closed the connection before the end of the response.
    pub fn cut_by_client(&self) -> bool {
        matches!(self.delivery, Delivery::CutByClient { .. })
    }

    /// The tools that the model is offered, in `tools` or in an item of the input.
    pub fn offered_tools(&self) -> Vec<&Value> {
        offered_tools(&self.body)
    }

    /// The items of the conversation: the input without an item that holds tools.
    pub fn conversation(&self) -> Vec<&Value> {
        let items = self.body["input"].as_array().into_iter().flatten();
        items.filter(|item| !is_additional_tools(item)).collect()
    }

    /// The JSON of the control route.
    pub(crate) fn to_json(&self) -> Value {
        let (delivery, cut_at) = match self.delivery {
            Delivery::Running => ("running", None),
            Delivery::Done => ("done", None),
            Delivery::CutByClient { at } => ("cut_by_client", Some(at)),
        };
        json!({
            "method": self.method.as_str(),
            "path": self.path,
            "headers": headers_json(&self.headers),
            "body": self.body,
            "body_bytes": self.body_bytes,
            "input_tokens": self.prompt.map(|prompt| prompt.input),
            "cached_tokens": self.prompt.map(|prompt| prompt.cached),
            "at_ms": epoch(self.at).as_millis(),
            "delivery": delivery,
            "cut_at_ms": cut_at.map(|at| epoch(at).as_millis()),
        })
    }
}

/// Time since the epoch.
pub(crate) fn epoch(at: SystemTime) -> Duration {
    at.duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The recorded requests, shared by all clones.
#[derive(Clone, Debug, Default)]
pub(crate) struct Recorder {
    entries: watch::Sender<LogEntries>,
}

/// Bytes of recorded requests: thousands of ordinary ones, a few with huge bodies.
const KEPT_BYTES: usize = 32 << 20;
/// Approximate size of an entry besides its body.
const ENTRY_BYTES: usize = 2 << 10;

#[derive(Debug, Default)]
struct LogEntries {
    kept: VecDeque<LogEntry>,
    /// Number of the latest request.
    next: u64,
    bytes: usize,
}

#[derive(Debug)]
struct LogEntry {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Box<[u8]>,
    prompt: Option<PromptTokens>,
    at: SystemTime,
    delivery: Delivery,
}

impl Recorder {
    /// Records a request before its response begins.
    pub(crate) fn record(&self, head: &Parts, body: &[u8]) -> RecordingGuard {
        let at = SystemTime::now();
        let entry = LogEntry {
            method: head.method.clone(),
            uri: head.uri.clone(),
            headers: head.headers.clone(),
            // A copy, because `Bytes` would keep the whole read buffer alive.
            body: body.into(),
            prompt: None,
            at,
            delivery: Delivery::Running,
        };
        let mut number = 0;
        self.entries
            .send_modify(|entries| number = entries.push(entry));
        RecordingGuard {
            log: self.clone(),
            number,
            at,
            is_done: false,
        }
    }

    /// The recorded requests, oldest first.
    pub(crate) fn requests(&self) -> Vec<RecordedRequest> {
        self.entries.borrow().recorded()
    }

    /// Deletes all recorded requests; their responses continue.
    pub(crate) fn clear(&self) {
        self.entries.send_modify(|entries| {
            entries.kept.clear();
            entries.bytes = 0;
        });
    }

    /// Waits until `count` requests are recorded.
    pub(crate) async fn wait_for_requests(
        &self,
        count: usize,
        deadline: Duration,
    ) -> io::Result<Vec<RecordedRequest>> {
        self.wait_for(deadline, |entries| entries.kept.len() >= count)
            .await
    }

    /// Waits until the clients of `count` requests have disconnected before the end of the response.
    pub(crate) async fn wait_for_disconnects(
        &self,
        count: usize,
        deadline: Duration,
    ) -> io::Result<Vec<RecordedRequest>> {
        let is_cut = |entry: &&LogEntry| matches!(entry.delivery, Delivery::CutByClient { .. });
        self.wait_for(deadline, |entries| {
            entries.kept.iter().filter(is_cut).count() >= count
        })
        .await
    }

    /// Waits until no kept request has a response in progress.
    pub(crate) async fn wait_for_idle(&self) {
        let is_running = |entry: &LogEntry| matches!(entry.delivery, Delivery::Running);
        let mut watched = self.entries.subscribe();
        let idle = watched.wait_for(|entries| !entries.kept.iter().any(is_running));
        idle.await.expect("`self` holds the sender");
    }

    async fn wait_for(
        &self,
        deadline: Duration,
        fits: impl FnMut(&LogEntries) -> bool,
    ) -> io::Result<Vec<RecordedRequest>> {
        let mut watched = self.entries.subscribe();
        match tokio::time::timeout(deadline, watched.wait_for(fits)).await {
            Ok(entries) => Ok(entries.expect("`self` holds the sender").recorded()),
            Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl LogEntries {
    fn push(&mut self, entry: LogEntry) -> u64 {
        self.bytes += entry.size();
        self.kept.push_back(entry);
        while self.bytes > KEPT_BYTES
            && let Some(oldest) = self.kept.pop_front()
        {
            self.bytes -= oldest.size();
        }
        self.next += 1;
        self.next
    }

    fn get_mut(&mut self, number: u64) -> Option<&mut LogEntry> {
        let from_end = usize::try_from(self.next - number).ok()?;
        self.kept.iter_mut().rev().nth(from_end)
    }

    fn recorded(&self) -> Vec<RecordedRequest> {
        self.kept.iter().map(LogEntry::recorded).collect()
    }
}

impl LogEntry {
    fn size(&self) -> usize {
        self.body.len() + ENTRY_BYTES
    }

    fn recorded(&self) -> RecordedRequest {
        RecordedRequest {
            method: self.method.clone(),
            path: self.uri.path().to_owned(),
            headers: self.headers.clone(),
            body: serde_json::from_slice(&self.body).unwrap_or_default(),
            body_bytes: self.body.len(),
            prompt: self.prompt,
            at: self.at,
            delivery: self.delivery,
        }
    }
}

/// A request with a response in progress; dropped before `done`, it records a disconnect of the client.
#[derive(Debug)]
pub(crate) struct RecordingGuard {
    log: Recorder,
    /// Counted from 1.
    pub(crate) number: u64,
    pub(crate) at: SystemTime,
    is_done: bool,
}

impl RecordingGuard {
    /// Records that the script was played to its end.
    pub(crate) fn done(&mut self) {
        self.is_done = true;
        self.set(Delivery::Done);
    }

    /// Records the token counts of the prompt.
    pub(crate) fn set_prompt(&self, prompt: PromptTokens) {
        self.update(|entry| entry.prompt = Some(prompt));
    }

    fn set(&self, delivery: Delivery) {
        self.update(|entry| entry.delivery = delivery);
    }

    fn update(&self, change: impl FnOnce(&mut LogEntry)) {
        self.log.entries.send_modify(|entries| {
            if let Some(entry) = entries.get_mut(self.number) {
                change(entry);
            }
        });
    }
}

impl Drop for RecordingGuard {
    fn drop(&mut self) {
        if !self.is_done {
            let at = SystemTime::now();
            self.set(Delivery::CutByClient { at });
        }
    }
}
