//! The counts of requests by the origin of their thread, and of evicted threads by reason.

use std::sync::atomic::{AtomicU64, Ordering};

/// The reason why a request does not continue a warm thread.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Miss {
    /// The conversation has no answer of the model.
    FirstRequest,
    /// No thread of the client has the beginning and the settings of the conversation: it was given up, is in use, or never
    /// stayed loaded.
    NoThread,
    /// The conversation goes on with another answer than that of the thread.
    OtherAnswer,
    /// The turn that waits for the outputs of its calls cannot go on with what follows them.
    OtherOutputs,
    /// The conversation has answers that the thread does not have: another sidecar has served it, under the conversation's own
    /// id, under which the provider has more of it in its cache.
    ServedElsewhere,
    /// The child of the thread ended, or gave the thread up, before the request reached it.
    Lost,
}

impl Miss {
    /// All reasons.
    pub(super) const ALL: [Self; 6] = [
        Self::FirstRequest,
        Self::NoThread,
        Self::OtherAnswer,
        Self::OtherOutputs,
        Self::ServedElsewhere,
        Self::Lost,
    ];

    /// Returns the value of the label `reason`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::FirstRequest => "first_request",
            Self::NoThread => "no_thread",
            Self::OtherAnswer => "other_answer",
            Self::OtherOutputs => "other_outputs",
            Self::ServedElsewhere => "served_elsewhere",
            Self::Lost => "lost",
        }
    }
}

/// The reason why a warm thread was given up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Eviction {
    /// `PROXY_WARM_TTL_MS` has passed.
    Expired,
    /// `PROXY_WARM_THREADS`, or the share of the client, was exceeded.
    Limit,
    /// The child came close to the limit of its memory.
    Memory,
    /// The conversation went on in a way that the thread cannot follow.
    Superseded,
    /// The child was replaced, has ended, or has failed the turn that waited.
    Child,
}

impl Eviction {
    /// All reasons.
    pub(super) const ALL: [Self; 5] = [
        Self::Expired,
        Self::Limit,
        Self::Memory,
        Self::Superseded,
        Self::Child,
    ];

    /// Returns the value of the label `reason`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Limit => "limit",
            Self::Memory => "memory",
            Self::Superseded => "superseded",
            Self::Child => "child",
        }
    }
}

/// The warm threads now, and the counts since the start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct WarmStatus {
    /// Maximum number of warm threads; 0 if no thread stays loaded.
    pub limit: usize,
    /// Threads without a turn.
    pub idle: usize,
    /// Threads with a turn that waits for the outputs of its tool calls.
    pub parked: usize,
    /// Requests that continued a thread.
    pub hits: u64,
    /// Requests that did not, by reason.
    pub misses: Vec<(&'static str, u64)>,
    /// Threads that were given up, by reason.
    pub evictions: Vec<(&'static str, u64)>,
}

impl WarmStatus {
    /// Returns the number of requests that began a thread although their conversation had an answer of the model.
    pub fn misses_of_later_requests(&self) -> u64 {
        let first = Miss::FirstRequest.as_str();
        let later = self.misses.iter().filter(|(reason, _)| *reason != first);
        later.map(|(_, count)| count).sum()
    }
}

/// The counters.
#[derive(Debug, Default)]
pub(super) struct WarmCounts {
    hits: AtomicU64,
    misses: [AtomicU64; Miss::ALL.len()],
    evictions: [AtomicU64; Eviction::ALL.len()],
}

impl WarmCounts {
    pub(super) fn hit(&self) {
        self.hits.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn miss(&self, reason: Miss) {
        self.misses[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn evicted(&self, reason: Eviction) {
        self.evictions[reason as usize].fetch_add(1, Ordering::Relaxed);
    }

    /// Writes the counts into `status`.
    pub(super) fn read(&self, status: &mut WarmStatus) {
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        status.hits = count(&self.hits);
        let misses = Miss::ALL.iter().zip(&self.misses);
        status.misses = misses
            .map(|(reason, n)| (reason.as_str(), count(n)))
            .collect();
        let evictions = Eviction::ALL.iter().zip(&self.evictions);
        status.evictions = evictions
            .map(|(reason, n)| (reason.as_str(), count(n)))
            .collect();
    }
}
