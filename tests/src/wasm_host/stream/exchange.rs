//! What came of one request: the answer, what the upstream saw, what it cost.

use std::collections::BTreeMap;

use crate::wasm_host::headers::Headers;
use super::message::{Answerer, Message};
use crate::wasm_host::guest::{Calls, LogLine};
use crate::wasm_host::vm::Trap;

/// The record of one request through the filter.
#[derive(Clone, Debug)]
pub struct Exchange {
    /// How it ended for the client.
    pub outcome: Outcome,
    /// What went on to the upstream, whole or cut off; `None` when it was never touched.
    pub upstream: Option<Message>,
    /// Attributes and filter state as they were at the end, by dotted name.
    pub properties: BTreeMap<String, Vec<u8>>,
    /// Host functions that the filter called, and how often.
    pub calls: Calls,
    /// What the filter logged.
    pub logs: Vec<LogLine>,
    /// Guest instructions of all callbacks; exact, the same in every run.
    pub fuel: u64,
}

/// How a request ended for the client.
#[derive(Clone, Debug)]
pub enum Outcome {
    /// The client got an answer.
    Answered {
        /// Who wrote it.
        answerer: Answerer,
        /// What the client saw.
        response: Message,
    },
    /// The answer had begun and was cut off, by the filter or by the end of its VM.
    Reset,
    /// The client hung up.
    Left,
    /// The filter paused in this callback and nothing will ever wake it.
    Hung(&'static str),
    /// The VM is gone: this client gets an empty 503, the next request a new VM.
    Trapped(Trap),
}

impl Exchange {
    /// What the client saw.
    ///
    /// # Panics
    /// The client got no answer.
    #[track_caller]
    pub fn response(&self) -> &Message {
        match &self.outcome {
            Outcome::Answered { response, .. } => response,
            other => panic!("no answer: {other:?}, logged: {:?}", self.logs),
        }
    }

    /// The status that the client saw.
    ///
    /// # Panics
    /// The client got no answer.
    #[track_caller]
    pub fn status(&self) -> u16 {
        self.response().status()
    }

    /// A field of the answer as text.
    ///
    /// # Panics
    /// The client got no answer.
    #[track_caller]
    pub fn header(&self, name: &str) -> Option<String> {
        self.response().headers.text(name)
    }

    /// The whole request as the upstream saw it.
    ///
    /// # Panics
    /// The upstream saw none, or only its beginning.
    #[track_caller]
    pub fn forwarded(&self) -> &Message {
        let whole = self.upstream.as_ref().filter(|message| message.complete);
        whole.unwrap_or_else(|| panic!("not forwarded: {:?}", self.outcome))
    }

    /// Who wrote the answer; `None` when there was none.
    pub fn answerer(&self) -> Option<&Answerer> {
        match &self.outcome {
            Outcome::Answered { answerer, .. } => Some(answerer),
            Outcome::Reset | Outcome::Left | Outcome::Hung(_) | Outcome::Trapped(_) => None,
        }
    }

    /// Whether the upstream got the whole request.
    pub fn is_forwarded(&self) -> bool {
        self.upstream
            .as_ref()
            .is_some_and(|message| message.complete)
    }

    /// The request head as the upstream saw it.
    ///
    /// # Panics
    /// The upstream was never touched.
    #[track_caller]
    pub fn upstream_headers(&self) -> &Headers {
        let upstream = self.upstream.as_ref();
        let upstream = upstream.unwrap_or_else(|| panic!("not forwarded: {:?}", self.outcome));
        &upstream.headers
    }
}
