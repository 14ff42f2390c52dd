//! What the model was sent, and what became of each answer.
//! The log is bounded: the oldest requests are forgotten first.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use http::request::Parts;
use http::{HeaderMap, Method, Uri};
use serde_json::{Value, json};
use tokio::sync::watch;

use super::model_request::headers_json;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Recorded {
    /// The method.
    pub method: Method,
    /// The path, without a query.
    pub path: String,
    /// The header fields.
    pub headers: HeaderMap,
    /// The body as JSON; null when it is not JSON.
    pub body: Value,
    /// Size of the body on the wire.
    pub body_bytes: usize,
    /// When the body had come.
    pub at: SystemTime,
    /// What became of the answer.
    pub delivery: Delivery,
}

/// What became of an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Delivery {
    /// It is not over yet.
    Running,
    /// It was given to the end of its script, a cut by the script included.
    Done,
    /// The client closed the connection before the answer was over.
    CutByClient {
        /// When that was noticed.
        at: SystemTime,
    },
}

impl Recorded {
    /// Whether the client closed the connection before the answer was over.
    pub fn cut_by_client(&self) -> bool {
        matches!(self.delivery, Delivery::CutByClient { .. })
    }

    /// The form of the control route.
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

/// All requests; clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct RequestLog {
    entries: watch::Sender<Entries>,
}

/// Bytes of requests that are kept: thousands of ordinary ones, a few with huge bodies.
const KEPT_BYTES: usize = 32 << 20;
/// What an entry costs beside its body, about.
const ENTRY_BYTES: usize = 2 << 10;

#[derive(Debug, Default)]
struct Entries {
    kept: VecDeque<Entry>,
    /// Number that the next request gets; the last one kept has one less.
    next: u64,
    bytes: usize,
}

#[derive(Debug)]
struct Entry {
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Box<[u8]>,
    at: SystemTime,
    delivery: Delivery,
}

impl RequestLog {
    /// Records a request that is about to be answered.
    pub(crate) fn record(&self, head: &Parts, body: &[u8]) -> Recording {
        let at = SystemTime::now();
        let entry = Entry {
            method: head.method.clone(),
            uri: head.uri.clone(),
            headers: head.headers.clone(),
            // A copy, because `Bytes` would keep the whole read buffer alive.
            body: body.into(),
            at,
            delivery: Delivery::Running,
        };
        let mut number = 0;
        self.entries
            .send_modify(|entries| number = entries.push(entry));
        Recording {
            log: self.clone(),
            number,
            at,
            over: false,
        }
    }

    /// The requests that are kept, oldest first.
    pub(crate) fn requests(&self) -> Vec<Recorded> {
        self.entries.borrow().recorded()
    }

    /// Forgets all requests; answers go on.
    pub(crate) fn clear(&self) {
        self.entries.send_modify(|entries| {
            entries.kept.clear();
            entries.bytes = 0;
        });
    }

    /// Waits until so many requests are kept.
    pub(crate) async fn wait_for_requests(
        &self,
        count: usize,
        deadline: Duration,
    ) -> io::Result<Vec<Recorded>> {
        self.wait_for(deadline, |entries| entries.kept.len() >= count)
            .await
    }

    /// Waits until the clients of so many requests have cut the answer.
    pub(crate) async fn wait_for_cut(
        &self,
        count: usize,
        deadline: Duration,
    ) -> io::Result<Vec<Recorded>> {
        let is_cut = |entry: &&Entry| matches!(entry.delivery, Delivery::CutByClient { .. });
        self.wait_for(deadline, |entries| {
            entries.kept.iter().filter(is_cut).count() >= count
        })
        .await
    }

    async fn wait_for(
        &self,
        deadline: Duration,
        fits: impl FnMut(&Entries) -> bool,
    ) -> io::Result<Vec<Recorded>> {
        let mut watched = self.entries.subscribe();
        match tokio::time::timeout(deadline, watched.wait_for(fits)).await {
            Ok(entries) => Ok(entries.expect("`self` holds the sender").recorded()),
            Err(_elapsed) => Err(io::ErrorKind::TimedOut.into()),
        }
    }
}

impl Entries {
    fn push(&mut self, entry: Entry) -> u64 {
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

    fn get_mut(&mut self, number: u64) -> Option<&mut Entry> {
        let from_end = usize::try_from(self.next - number).ok()?;
        self.kept.iter_mut().rev().nth(from_end)
    }

    fn recorded(&self) -> Vec<Recorded> {
        self.kept.iter().map(Entry::recorded).collect()
    }
}

impl Entry {
    fn size(&self) -> usize {
        self.body.len() + ENTRY_BYTES
    }

    fn recorded(&self) -> Recorded {
        Recorded {
            method: self.method.clone(),
            path: self.uri.path().to_owned(),
            headers: self.headers.clone(),
            body: serde_json::from_slice(&self.body).unwrap_or_default(),
            body_bytes: self.body.len(),
            at: self.at,
            delivery: self.delivery,
        }
    }
}

/// The entry of a request while it is answered; dropped before `done`, the client has cut the answer.
#[derive(Debug)]
pub(crate) struct Recording {
    log: RequestLog,
    /// Counted from 1.
    pub(crate) number: u64,
    pub(crate) at: SystemTime,
    over: bool,
}

impl Recording {
    /// Nothing is left to say.
    pub(crate) fn done(&mut self) {
        self.over = true;
        self.set(Delivery::Done);
    }

    fn set(&self, delivery: Delivery) {
        self.log.entries.send_modify(|entries| {
            if let Some(entry) = entries.get_mut(self.number) {
                entry.delivery = delivery;
            }
        });
    }
}

impl Drop for Recording {
    fn drop(&mut self) {
        if !self.over {
            let at = SystemTime::now();
            self.set(Delivery::CutByClient { at });
        }
    }
}
