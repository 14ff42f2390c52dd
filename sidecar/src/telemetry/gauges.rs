//! Gauges: values that are measured for one exposition.
//! The caller passes plain numbers, so that this module does not depend on the modules that own them.

use std::sync::atomic::AtomicU64;
use std::time::{SystemTime, UNIX_EPOCH};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use super::stderr_log;
use crate::process;

/// The values of one exposition.
#[derive(Debug)]
pub struct Gauges<'a> {
    /// Version of Codex.
    pub codex_version: &'a str,
    /// Protocol between the sidecar and Codex.
    pub protocol: &'a str,
    /// Running turns.
    pub turns: usize,
    /// Maximum number of running turns; `None` is unlimited.
    pub turns_limit: Option<usize>,
    /// Requests in the queue.
    pub queued: usize,
    /// Whether a child can take a turn.
    pub is_ready: bool,
    /// Number of workers by state; a state without workers has 0.
    pub workers: Vec<(&'static str, usize)>,
    /// Number of warm threads by state.
    pub warm_threads: [(&'static str, usize); 2],
    /// Turns by the origin of their thread, with the reason why they continue no warm thread, since the start.
    pub thread_origins: Vec<(&'static str, &'static str, u64)>,
    /// Warm threads that were given up, by reason, since the start.
    pub warm_evictions: Vec<(&'static str, u64)>,
    /// Threads that were rebuilt for a conversation that had lost its own, by result, since the start.
    pub rebuilt_threads: [(&'static str, u64); 2],
    /// Resident memory of all children, in bytes.
    pub child_resident_bytes: u64,
    /// Children started since the sidecar started.
    pub child_starts: u64,
    /// The rate limit windows that Codex has reported.
    pub rate_limits: Vec<RateLimitGauge>,
    /// The limits of keys with a budget.
    pub budgets: Vec<BudgetGauge>,
}

/// A limit of a key's budget, in tokens.
#[derive(Debug, Clone)]
pub struct BudgetGauge {
    /// The id of the key.
    pub client: String,
    /// Name of the limit, such as `day.output`.
    pub limit: String,
    /// Tokens of the limit.
    pub tokens: u64,
    /// Tokens that are spent in the current window.
    pub spent: u64,
    /// Tokens that are promised to running turns.
    pub reserved: u64,
    /// The end of the window, in milliseconds since the Unix epoch.
    pub resets_at_ms: u64,
}

/// A window of the Codex plan's rate limits.
#[derive(Debug, Clone, Copy)]
pub struct RateLimitGauge {
    /// Name of the window: `primary` or `secondary`.
    pub window: &'static str,
    /// Used share of the window, from 0 to 1.
    pub used_ratio: f64,
    /// Time at which the window resets.
    pub resets_at: Option<SystemTime>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabel {
    result: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OriginLabels {
    thread: &'static str,
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WindowLabel {
    window: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct BudgetLabels {
    client: String,
    limit: String,
}

/// Returns a registry that lives for one exposition.
pub(super) fn registry_of(gauges: &Gauges<'_>) -> Registry {
    let mut registry = Registry::default();
    let prefixed = registry.sub_registry_with_prefix("sidecar");
    register_turns(prefixed, gauges);
    register_children(prefixed, gauges);
    register_threads(prefixed, gauges);
    prefixed.register(
        "build",
        "Versions of the sidecar and of Codex",
        build(gauges),
    );
    register_rate_limits(prefixed, &gauges.rate_limits);
    register_budgets(prefixed, &gauges.budgets);
    prefixed.register(
        "log_lines_dropped",
        "Lines of the log that the reader of stderr did not take",
        ConstCounter::<u64>::new(stderr_log::dropped_lines()),
    );
    // Without the prefix of the sidecar, as dashboards for any process expect these names.
    register_process(&mut registry);
    registry
}

fn register_turns(registry: &mut Registry, gauges: &Gauges<'_>) {
    let mut register = |name: &str, help: &str, value: usize| {
        registry.register(name, help, ConstGauge::new(signed(value)));
    };
    register("turns_active", "Running turns", gauges.turns);
    // Absent without a limit; 0 would read as "no turns allowed".
    if let Some(limit) = gauges.turns_limit {
        register("turns_limit", "Maximum number of running turns", limit);
    }
    register("queue_length", "Requests in the queue", gauges.queued);
    register(
        "ready",
        "Whether a child can take a turn",
        gauges.is_ready.into(),
    );
}

fn register_children(registry: &mut Registry, gauges: &Gauges<'_>) {
    registry.register_with_unit(
        "child_resident",
        "Resident memory of all Codex children",
        Unit::Bytes,
        ConstGauge::<u64>::new(gauges.child_resident_bytes),
    );
    registry.register(
        "child_starts",
        "Codex children started",
        ConstCounter::<u64>::new(gauges.child_starts),
    );
    let workers = Family::<StateLabel, Gauge>::default();
    for &(state, count) in &gauges.workers {
        workers
            .get_or_create(&StateLabel { state })
            .set(signed(count));
    }
    registry.register("workers", "Workers by state", workers);
}

fn register_threads(registry: &mut Registry, gauges: &Gauges<'_>) {
    let warm = Family::<StateLabel, Gauge>::default();
    for &(state, count) in &gauges.warm_threads {
        warm.get_or_create(&StateLabel { state }).set(signed(count));
    }
    registry.register("warm_threads", "Warm Codex threads by state", warm);
    let origins = Family::<OriginLabels, Counter>::default();
    for &(thread, reason, count) in &gauges.thread_origins {
        let labels = OriginLabels { thread, reason };
        origins.get_or_create(&labels).inc_by(count);
    }
    registry.register(
        "turn_threads",
        "Turns by the origin of their Codex thread, with the reason of a new one",
        origins,
    );
    let evictions = Family::<ReasonLabel, Counter>::default();
    for &(reason, count) in &gauges.warm_evictions {
        evictions
            .get_or_create(&ReasonLabel { reason })
            .inc_by(count);
    }
    registry.register(
        "warm_thread_evictions",
        "Warm Codex threads that were given up, by reason",
        evictions,
    );
    let rebuilt = Family::<ResultLabel, Counter>::default();
    for &(result, count) in &gauges.rebuilt_threads {
        rebuilt.get_or_create(&ResultLabel { result }).inc_by(count);
    }
    registry.register(
        "rebuilt_threads",
        "Codex threads that were rebuilt with the session id of their conversation, by result",
        rebuilt,
    );
}

fn build(gauges: &Gauges<'_>) -> Info<Vec<(&'static str, String)>> {
    Info::new(vec![
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("codex", gauges.codex_version.to_owned()),
        ("protocol", gauges.protocol.to_owned()),
    ])
}

fn register_rate_limits(registry: &mut Registry, windows: &[RateLimitGauge]) {
    let used = Family::<WindowLabel, Gauge<f64, AtomicU64>>::default();
    let resets = Family::<WindowLabel, Gauge>::default();
    for RateLimitGauge {
        window,
        used_ratio,
        resets_at,
    } in windows
    {
        let label = WindowLabel { window };
        used.get_or_create(&label).set(*used_ratio);
        if let Some(at) = resets_at.and_then(|at| at.duration_since(UNIX_EPOCH).ok()) {
            let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
            resets.get_or_create(&label).set(seconds);
        }
    }
    registry.register(
        "plan_used_ratio",
        "Used share of a rate limit window of the Codex plan",
        used,
    );
    registry.register_with_unit(
        "plan_reset_timestamp",
        "Time at which a rate limit window of the Codex plan resets",
        Unit::Seconds,
        resets,
    );
}

fn register_budgets(registry: &mut Registry, budgets: &[BudgetGauge]) {
    let mut register = |name: &str, help: &str, value: fn(&BudgetGauge) -> u64| {
        let family = Family::<BudgetLabels, Gauge>::default();
        for budget in budgets {
            let labels = BudgetLabels {
                client: budget.client.clone(),
                limit: budget.limit.clone(),
            };
            let value = i64::try_from(value(budget)).unwrap_or(i64::MAX);
            family.get_or_create(&labels).set(value);
        }
        registry.register(name, help, family);
    };
    register("budget_tokens", "Tokens of a limit of a key", |budget| {
        budget.tokens
    });
    register(
        "budget_spent_tokens",
        "Tokens of a limit that are spent in its window",
        |budget| budget.spent,
    );
    register(
        "budget_reserved_tokens",
        "Tokens of a limit that are promised to running turns",
        |budget| budget.reserved,
    );
    register(
        "budget_reset_timestamp_seconds",
        "Time at which the window of a limit ends",
        |budget| budget.resets_at_ms / 1000,
    );
}

/// Registers metrics of the process itself, with the names of Prometheus's own client libraries.
fn register_process(registry: &mut Registry) {
    let pid = i32::try_from(std::process::id()).unwrap_or_default();
    registry.register_with_unit(
        "process_resident_memory",
        "Resident memory of the sidecar",
        Unit::Bytes,
        ConstGauge::<u64>::new(process::rss_bytes(pid)),
    );
    registry.register(
        "process_open_fds",
        "Open file descriptors of the sidecar",
        ConstGauge::new(signed(process::open_descriptors())),
    );
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
