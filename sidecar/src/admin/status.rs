//! What happens now, as the status page reads it.

use std::time::Duration;

use serde::Serialize;

use crate::openai::usage::{PlanWindow, plan_windows};
use crate::telemetry::metrics::{Codex, Now};

#[derive(Serialize)]
struct Status<'a> {
    version: &'static str,
    uptime_secs: u64,
    codex: CodexStatus<'a>,
    /// Turns that hold a slot.
    turns: usize,
    /// `null` is without limit.
    turns_limit: Option<usize>,
    /// Requests that wait for a slot.
    queued: usize,
    /// What each worker can do.
    workers: Vec<&'static str>,
    children: Vec<Child>,
    child_starts: u64,
    plan: Vec<PlanWindow>,
}

#[derive(Serialize)]
struct CodexStatus<'a> {
    version: &'a str,
    protocol: &'a str,
    state: &'static str,
}

#[derive(Serialize)]
struct Child {
    pid: i32,
    age_secs: u64,
    rss_bytes: u64,
}

/// The status as JSON.
pub(super) fn write(now: &Now, codex: Codex<'_>, uptime: Duration) -> Vec<u8> {
    let status = &now.status;
    let children = status.children.iter().map(|child| Child {
        pid: child.pid,
        age_secs: child.age.as_secs(),
        rss_bytes: child.rss_bytes,
    });
    let status = Status {
        version: env!("CARGO_PKG_VERSION"),
        uptime_secs: uptime.as_secs(),
        codex: CodexStatus {
            version: codex.version,
            protocol: codex.protocol,
            state: now.readiness.as_str(),
        },
        turns: status.turns,
        turns_limit: status.turns_limit.map(std::num::NonZeroUsize::get),
        queued: status.queued,
        workers: status
            .workers
            .iter()
            .map(|worker| worker.as_str())
            .collect(),
        children: children.collect(),
        child_starts: status.child_starts,
        plan: plan_windows(&now.plan),
    };
    serde_json::to_vec(&status).expect("its keys are strings and no part of it fails")
}
