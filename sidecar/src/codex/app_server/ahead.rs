//! Threads that are started ahead of their turns, for the settings with which most threads begin: `thread/start` takes a
//! third of the time to the first token of a turn whose model answers at once.

use std::collections::VecDeque;

use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::ids::ThreadId;
use crate::turn::Digest;

/// New threads with remembered settings. Settings that two of them have get a thread ahead.
const RECENT: usize = 16;

/// The threads that are started ahead, at most one for each set of settings.
#[derive(Debug, Default)]
pub(super) struct ThreadsAhead {
    limit: usize,
    /// The settings of the last new threads.
    recent: VecDeque<Digest>,
    /// Least recently used first.
    ahead: VecDeque<ThreadAhead>,
}

#[derive(Debug)]
struct ThreadAhead {
    settings: Digest,
    /// The parameters of `thread/start`.
    start: Box<RawValue>,
    state: AheadState,
}

#[derive(Debug)]
enum AheadState {
    Wanted,
    Starting,
    Started(ThreadId),
}

impl ThreadsAhead {
    /// Starts at most `limit` threads.
    pub(super) fn new(limit: usize) -> Self {
        Self {
            limit,
            ..Self::default()
        }
    }

    /// Forgets settings with which no thread can be started. A turn with them gets the reason.
    pub(super) fn forget(&mut self, settings: Digest) {
        self.ahead.retain(|ahead| ahead.settings != settings);
    }

    /// Takes the thread with these settings, and wants another one.
    pub(super) fn take(&mut self, settings: Digest) -> Option<ThreadId> {
        let index = self.index(settings)?;
        let mut ahead = self.ahead.remove(index)?;
        let state = std::mem::replace(&mut ahead.state, AheadState::Wanted);
        match state {
            AheadState::Started(thread) => {
                self.ahead.push_back(ahead);
                Some(thread)
            }
            AheadState::Wanted | AheadState::Starting => {
                ahead.state = state;
                self.ahead.push_back(ahead);
                None
            }
        }
    }

    /// Notes the settings of a new thread. Returns a thread that makes room for them.
    pub(super) fn note<P: Serialize>(
        &mut self,
        settings: Digest,
        start: impl FnOnce() -> P,
    ) -> Option<ThreadId> {
        if self.limit == 0 {
            return None;
        }
        let is_frequent = self.recent.contains(&settings);
        self.recent.push_back(settings);
        if self.recent.len() > RECENT {
            self.recent.pop_front();
        }
        if !is_frequent || self.index(settings).is_some() {
            return None;
        }
        self.ahead.push_back(ThreadAhead {
            settings,
            start: to_raw_value(&start()).expect("the parameters have string keys"),
            state: AheadState::Wanted,
        });
        if self.ahead.len() <= self.limit {
            return None;
        }
        match self.ahead.pop_front()?.state {
            AheadState::Started(thread) => Some(thread),
            AheadState::Wanted | AheadState::Starting => None,
        }
    }

    /// Returns the next thread to start, unless one is being started.
    pub(super) fn next(&mut self) -> Option<(Digest, Box<RawValue>)> {
        let is_starting = |ahead: &ThreadAhead| matches!(ahead.state, AheadState::Starting);
        if self.ahead.iter().any(is_starting) {
            return None;
        }
        let is_wanted = |ahead: &&mut ThreadAhead| matches!(ahead.state, AheadState::Wanted);
        let next = self.ahead.iter_mut().rev().find(is_wanted)?;
        next.state = AheadState::Starting;
        Some((next.settings, next.start.clone()))
    }

    /// Takes a thread that was started, or returns it if its settings are not wanted any more.
    pub(super) fn on_started(&mut self, settings: Digest, thread: ThreadId) -> Option<ThreadId> {
        match self.index(settings) {
            Some(index) => {
                self.ahead[index].state = AheadState::Started(thread);
                None
            }
            None => Some(thread),
        }
    }

    fn index(&self, settings: Digest) -> Option<usize> {
        let mut all = self.ahead.iter();
        all.position(|ahead| ahead.settings == settings)
    }
}
