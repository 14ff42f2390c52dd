//! The result of one request: the response, the request at the upstream, the cost.

use std::collections::BTreeMap;

use super::message::{Message, Responder};
use crate::wasm_host::guest::{Calls, LogLine};
use crate::wasm_host::headers::Headers;
use crate::wasm_host::vm::Trap;

/// A request through the filter, and its result.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// The end for the client.
    pub outcome: Outcome,
    /// The forwarded request, complete or cut off; `None` if no part was forwarded.
    pub upstream: Option<Message>,
    /// Properties and filter state at the end, by dotted name.
    pub properties: BTreeMap<String, Vec<u8>>,
    /// The number of calls of each host function.
    pub calls: Calls,
    /// The log of the filter.
    pub logs: Vec<LogLine>,
    /// Guest instructions of all callbacks: exact, and the same in every run.
    pub fuel: u64,
}

/// The end of a request for the client.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The client got a response.
    Responded {
        /// The sender of the response.
        responder: Responder,
        /// The response at the client.
        response: Message,
    },
    /// The response was cut off, by the filter or by the end of its VM.
    Reset,
    /// The client disconnected.
    Disconnected,
    /// The filter paused in this callback, and no event will resume the stream.
    Hung(&'static str),
    /// The VM trapped: this client gets an empty 503, the next request a new VM.
    Trapped(Trap),
}

impl Exchange {
    /// Returns the response at the client.
    ///
    /// # Panics
    /// The client got no response.
    #[track_caller]
    pub fn response(&self) -> &Message {
        match &self.outcome {
            Outcome::Responded { response, .. } => response,
            other => panic!("no response: {other:?}, logged: {:?}", self.logs),
        }
    }

    /// Returns the status at the client.
    ///
    /// # Panics
    /// The client got no response.
    #[track_caller]
    pub fn status(&self) -> u16 {
        self.response().status()
    }

    /// Returns a response header as text.
    ///
    /// # Panics
    /// The client got no response.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<String> {
        self.response().headers.text(name)
    }

    /// Returns the complete request at the upstream.
    ///
    /// # Panics
    /// The request was not forwarded, or not completely.
    #[track_caller]
    pub fn forwarded(&self) -> &Message {
        let whole = self.upstream.as_ref().filter(|message| message.complete);
        whole.unwrap_or_else(|| panic!("not forwarded: {:?}", self.outcome))
    }

    /// Returns the sender of the response, if there is one.
    pub fn responder(&self) -> Option<&Responder> {
        match &self.outcome {
            Outcome::Responded { responder, .. } => Some(responder),
            Outcome::Reset | Outcome::Disconnected | Outcome::Hung(_) | Outcome::Trapped(_) => None,
        }
    }

    /// Whether the upstream got the complete request.
    pub fn is_forwarded(&self) -> bool {
        self.upstream
            .as_ref()
            .is_some_and(|message| message.complete)
    }

    /// Returns the request headers at the upstream.
    ///
    /// # Panics
    /// The request was not forwarded at all.
    #[track_caller]
    pub fn upstream_headers(&self) -> &Headers {
        let upstream = self
            .upstream
            .as_ref()
            .unwrap_or_else(|| panic!("not forwarded: {:?}", self.outcome));
        &upstream.headers
    }
}
