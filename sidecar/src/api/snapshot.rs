//! The state of children and turns at one moment, for the status page and, as plain numbers, for the metrics.

use std::num::NonZeroUsize;

use std::sync::Arc;

use crate::codex::{BackendStatus, RateLimits, Readiness};
use crate::store::ledger::LimitStatus;
use crate::telemetry::{BudgetGauge, Gauges, RateLimitGauge};
use crate::turn::ThreadOrigin;

/// A snapshot of one sidecar.
#[derive(Debug)]
pub struct Snapshot<'a> {
    /// Version of Codex.
    pub codex_version: &'a str,
    /// Kind of the login.
    pub login: &'static str,
    /// Protocol between the sidecar and Codex.
    pub protocol: &'a str,
    /// Children, and the turns on them.
    pub status: BackendStatus,
    /// State of the sidecar as a whole: that of its best worker.
    pub readiness: Readiness,
    /// Rate limits of the Codex plan, as far as Codex has reported them.
    pub rate_limits: RateLimits,
    /// The limits of the keys with a budget, as their last requests had them.
    pub budgets: Vec<(Arc<str>, Vec<LimitStatus>)>,
}

/// The most keys with a series of metrics. Those with the least left come first; the status page and `/v1/usage` have all.
const MAX_BUDGET_SERIES: usize = 200;

impl<'a> Snapshot<'a> {
    /// Returns the snapshot as the plain numbers of an exposition.
    pub(super) fn gauges(&self) -> Gauges<'a> {
        let status = &self.status;
        Gauges {
            codex_version: self.codex_version,
            protocol: self.protocol,
            turns: status.turns,
            turns_limit: status.turns_limit.map(NonZeroUsize::get),
            queued: status.queued,
            is_ready: self.readiness == Readiness::Ready,
            workers: self.workers_by_state(),
            warm_threads: [("idle", status.warm.idle), ("parked", status.warm.parked)],
            thread_origins: self.thread_origins(),
            warm_evictions: status.warm.evictions.clone(),
            rebuilt_threads: [
                ("accepted", status.rebuilt.accepted),
                ("rejected", status.rebuilt.rejected),
            ],
            child_resident_bytes: status.children.iter().map(|child| child.rss_bytes).sum(),
            child_starts: status.child_starts,
            rate_limits: self.rate_limit_gauges(),
            budgets: self.budget_gauges(),
        }
    }

    /// Counts the workers of every state, so that a state without workers is exposed as 0.
    fn workers_by_state(&self) -> Vec<(&'static str, usize)> {
        let count = |state| {
            let workers = self.status.workers.iter();
            workers.filter(|worker| **worker == state).count()
        };
        Readiness::ALL
            .into_iter()
            .map(|state| (state.as_str(), count(state)))
            .collect()
    }

    /// Returns the turns by the origin of their thread; a hit has an empty reason.
    fn thread_origins(&self) -> Vec<(&'static str, &'static str, u64)> {
        let warm = &self.status.warm;
        let misses = warm.misses.iter();
        misses
            .map(|&(reason, count)| (ThreadOrigin::New.as_str(), reason, count))
            .chain([(ThreadOrigin::Warm.as_str(), "", warm.hits)])
            .collect()
    }

    fn rate_limit_gauges(&self) -> Vec<RateLimitGauge> {
        self.rate_limits
            .windows()
            .map(|(name, window)| RateLimitGauge {
                window: name,
                used_ratio: window.used_percent_now() / 100.0,
                resets_at: window.resets_at,
            })
            .collect()
    }

    fn budget_gauges(&self) -> Vec<BudgetGauge> {
        let least_left = |limits: &[LimitStatus]| limits.iter().map(LimitStatus::left).min();
        let mut budgets: Vec<_> = self.budgets.iter().collect();
        budgets.sort_by_key(|(client, limits)| (least_left(limits), Arc::clone(client)));
        budgets
            .into_iter()
            .take(MAX_BUDGET_SERIES)
            .flat_map(|(client, limits)| limits.iter().map(move |limit| (client, limit)))
            .map(|(client, limit)| BudgetGauge {
                client: client.to_string(),
                limit: limit.name.to_string(),
                tokens: limit.limit,
                spent: limit.spent,
                reserved: limit.reserved,
                resets_at_ms: limit.resets_at_ms,
            })
            .collect()
    }
}
