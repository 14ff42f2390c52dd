//! The `/status` document, which the status page polls.

use std::time::Duration;

use serde::Serialize;

use crate::api::Snapshot;
use crate::codex::WarmStatus;
use crate::openai::LimitBody;
use crate::openai::usage::{PlanWindow, plan_windows};

#[derive(Serialize)]
struct StatusDocument<'a> {
    version: &'static str,
    uptime_secs: u64,
    codex: CodexStatus<'a>,
    /// Running turns.
    turns: usize,
    /// Maximum number of running turns; `null` is unlimited.
    turns_limit: Option<usize>,
    /// Requests in the queue.
    queued: usize,
    threads: ThreadStatus,
    /// State of each worker.
    workers: Vec<&'static str>,
    children: Vec<ChildStatus>,
    child_starts: u64,
    plan: Vec<PlanWindow>,
    /// The limits of each key with a budget that has sent a request since the start.
    budgets: Vec<BudgetStatus<'a>>,
}

#[derive(Serialize)]
struct CodexStatus<'a> {
    version: &'a str,
    protocol: &'a str,
    state: &'static str,
    login: &'static str,
}

/// Threads that stay loaded for the next request of their conversation.
#[derive(Serialize)]
struct ThreadStatus {
    /// Maximum number; 0 if no thread stays loaded.
    limit: usize,
    /// Threads without a turn.
    idle: usize,
    /// Threads with a turn that waits for the outputs of its tool calls.
    parked: usize,
    /// Requests that continued a thread.
    hits: u64,
    /// Requests that began a thread, and could have continued one.
    misses: u64,
    /// Threads that were given up.
    evictions: u64,
}

#[derive(Serialize)]
struct BudgetStatus<'a> {
    client: &'a str,
    limits: Vec<LimitBody>,
}

#[derive(Serialize)]
struct ChildStatus {
    pid: i32,
    age_secs: u64,
    rss_bytes: u64,
}

fn threads(warm: &WarmStatus) -> ThreadStatus {
    let sum = |counts: &[(&str, u64)]| counts.iter().map(|(_, count)| count).sum();
    ThreadStatus {
        limit: warm.limit,
        idle: warm.idle,
        parked: warm.parked,
        hits: warm.hits,
        misses: warm.misses_of_later_requests(),
        evictions: sum(&warm.evictions),
    }
}

fn budgets<'a>(snapshot: &'a Snapshot<'_>) -> Vec<BudgetStatus<'a>> {
    let mut budgets: Vec<_> = snapshot
        .budgets
        .iter()
        .map(|(client, limits)| BudgetStatus {
            client,
            limits: limits.iter().map(LimitBody::from).collect(),
        })
        .collect();
    budgets.sort_by_key(|budget| budget.client);
    budgets
}

/// Returns the status as JSON.
pub(super) fn write(snapshot: &Snapshot<'_>, uptime: Duration) -> Vec<u8> {
    let status = &snapshot.status;
    let children = status.children.iter().map(|child| ChildStatus {
        pid: child.pid,
        age_secs: child.age.as_secs(),
        rss_bytes: child.rss_bytes,
    });
    let document = StatusDocument {
        version: env!("CARGO_PKG_VERSION"),
        uptime_secs: uptime.as_secs(),
        codex: CodexStatus {
            version: snapshot.codex_version,
            protocol: snapshot.protocol,
            state: snapshot.readiness.as_str(),
            login: snapshot.login,
        },
        turns: status.turns,
        turns_limit: status.turns_limit.map(std::num::NonZeroUsize::get),
        queued: status.queued,
        threads: threads(&status.warm),
        workers: status
            .workers
            .iter()
            .map(|worker| worker.as_str())
            .collect(),
        children: children.collect(),
        child_starts: status.child_starts,
        plan: plan_windows(&snapshot.rate_limits),
        budgets: budgets(snapshot),
    };
    serde_json::to_vec(&document).expect("all keys are strings and no field fails to serialize")
}
