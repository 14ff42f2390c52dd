//! Counters, histograms and gauges, and their exposition.
//! OpenMetrics 1.0, which Prometheus reads; label values come from our own enums, never from a client.

use std::time::{Duration, UNIX_EPOCH};

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::{ConstCounter, Counter};
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::{ConstGauge, Gauge};
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use crate::codex::{BackendStatus, RateLimits, Readiness};
use crate::process;
use crate::turn::{FinishReason, Outcome, Usage};

/// The media type of what [`Metrics::expose`] writes.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Seconds: from what the sidecar itself takes to the longest request there may be by default.
const SECONDS: [f64; 15] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// What is counted while the process lives.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_duration: Histograms<RouteLabel>,
    time_to_first_token: Histograms<RouteLabel>,
    turns: Family<OutcomeLabel, Counter>,
    turn_duration: Histogram,
    tokens: Family<KindLabel, Counter>,
}

/// What is measured at the moment of the exposition.
#[derive(Debug)]
pub struct Now {
    /// The children and the turns on them.
    pub status: BackendStatus,
    /// What the best of the children can do.
    pub readiness: Readiness,
    /// The windows of the Codex plan.
    pub plan: RateLimits,
}

/// Which Codex it is.
#[derive(Debug, Clone, Copy)]
pub struct Codex<'a> {
    /// Its version.
    pub version: &'a str,
    /// What is spoken with it.
    pub protocol: &'a str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RequestLabels {
    route: &'static str,
    status: u32,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RouteLabel {
    route: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OutcomeLabel {
    outcome: TurnOutcome,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct KindLabel {
    kind: TokenKind,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct StateLabel {
    state: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct WindowLabel {
    window: &'static str,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "they are written as they are named")]
enum TurnOutcome {
    completed,
    length,
    tool_calls,
    content_filter,
    refused,
    interrupted,
    failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "they are written as they are named")]
enum TokenKind {
    prompt,
    cached,
    completion,
    reasoning,
}

impl From<&Outcome> for TurnOutcome {
    fn from(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Completed { stop, .. } => match stop {
                FinishReason::Stop => Self::completed,
                FinishReason::Refused => Self::refused,
                FinishReason::ToolCalls => Self::tool_calls,
                FinishReason::Length => Self::length,
                FinishReason::ContentFilter => Self::content_filter,
            },
            Outcome::Interrupted => Self::interrupted,
            Outcome::Failed(_) => Self::failed,
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(SECONDS);
        let mut metrics = Self {
            registry: Registry::with_prefix("sidecar"),
            requests: Family::default(),
            request_duration: Family::new_with_constructor(histogram),
            time_to_first_token: Family::new_with_constructor(histogram),
            turns: Family::default(),
            turn_duration: histogram(),
            tokens: Family::default(),
        };
        metrics.register();
        metrics
    }
}

impl Metrics {
    fn register(&mut self) {
        let registry = &mut self.registry;
        registry.register(
            "requests",
            "Requests by route and the status of their answer",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "request_duration",
            "From the head of a request to the end of its answer",
            Unit::Seconds,
            self.request_duration.clone(),
        );
        registry.register_with_unit(
            "time_to_first_token",
            "From the request to the first word, thought or call",
            Unit::Seconds,
            self.time_to_first_token.clone(),
        );
        registry.register("turns", "Turns by how they ended", self.turns.clone());
        registry.register_with_unit(
            "turn_duration",
            "From the request to the end of its turn, with the wait for a slot",
            Unit::Seconds,
            self.turn_duration.clone(),
        );
        registry.register(
            "tokens",
            "Tokens; cached ones are prompt tokens too, reasoning ones completion tokens",
            self.tokens.clone(),
        );
    }

    /// Counts a request whose answer is over. `route` is a pattern of ours, not the client's path.
    pub fn count_request(&self, route: &'static str, status: u16, duration: Duration) {
        let status = status.into();
        self.requests
            .get_or_create(&RequestLabels { route, status })
            .inc();
        self.request_duration
            .get_or_create(&RouteLabel { route })
            .observe(duration.as_secs_f64());
    }

    /// Notes when a turn said its first word.
    pub fn note_first_token(&self, route: &'static str, after: Duration) {
        let histogram = self
            .time_to_first_token
            .get_or_create(&RouteLabel { route });
        histogram.observe(after.as_secs_f64());
    }

    /// Counts a turn that is over.
    pub fn count_turn(&self, outcome: &Outcome, usage: &Usage, duration: Duration) {
        let outcome = outcome.into();
        self.turns.get_or_create(&OutcomeLabel { outcome }).inc();
        self.turn_duration.observe(duration.as_secs_f64());
        for (kind, tokens) in [
            (TokenKind::prompt, usage.input_tokens),
            (TokenKind::cached, usage.cached_input_tokens),
            (TokenKind::completion, usage.output_tokens),
            (TokenKind::reasoning, usage.reasoning_tokens),
        ] {
            self.tokens
                .get_or_create(&KindLabel { kind })
                .inc_by(tokens);
        }
    }

    /// All of it as text, with what is measured now.
    pub fn expose(&self, now: &Now, codex: Codex<'_>) -> String {
        let mut text = String::new();
        let _infallible = encode(&mut text, &self.registry);
        let counted = text.trim_end_matches("# EOF\n").len();
        text.truncate(counted);
        let _infallible = encode(&mut text, &gauges(now, codex));
        text
    }
}

/// A registry that lives for one exposition.
fn gauges(now: &Now, codex: Codex<'_>) -> Registry {
    let status = &now.status;
    let mut registry = Registry::default();
    let ours = registry.sub_registry_with_prefix("sidecar");
    let mut gauge = |name: &str, help: &str, value: usize| {
        ours.register(name, help, ConstGauge::new(signed(value)));
    };
    gauge("turns_active", "Turns that hold a slot", status.turns);
    if let Some(limit) = status.turns_limit {
        gauge("turns_limit", "How many of them there may be", limit.get());
    }
    gauge(
        "queue_length",
        "Requests that wait for a slot",
        status.queued,
    );
    let ready = usize::from(now.readiness == Readiness::Ready);
    gauge("ready", "Whether a turn would be taken now", ready);
    let resident = status.children.iter().map(|child| child.rss_bytes).sum();
    ours.register_with_unit(
        "child_resident",
        "Memory of all Codex children",
        Unit::Bytes,
        ConstGauge::<u64>::new(resident),
    );
    ours.register(
        "child_starts",
        "Codex children that were ever started",
        ConstCounter::<u64>::new(status.child_starts),
    );
    ours.register("workers", "Workers by what they can do", workers(status));
    ours.register("build", "What runs here", build(codex));
    plan(ours, &now.plan);
    process_metrics(&mut registry);
    registry
}

fn build(codex: Codex<'_>) -> Info<Vec<(&'static str, String)>> {
    Info::new(vec![
        ("version", env!("CARGO_PKG_VERSION").to_owned()),
        ("codex", codex.version.to_owned()),
        ("protocol", codex.protocol.to_owned()),
    ])
}

fn workers(status: &BackendStatus) -> Family<StateLabel, Gauge> {
    let workers = Family::<StateLabel, Gauge>::default();
    for readiness in Readiness::ALL {
        let state = readiness.as_str();
        let of_them = status.workers.iter().filter(|worker| **worker == readiness);
        workers
            .get_or_create(&StateLabel { state })
            .set(signed(of_them.count()));
    }
    workers
}

/// The windows of which Codex has told something.
fn plan(registry: &mut Registry, plan: &RateLimits) {
    let used = Family::<WindowLabel, Gauge<f64, std::sync::atomic::AtomicU64>>::default();
    let resets = Family::<WindowLabel, Gauge>::default();
    for (name, window) in plan.windows() {
        let label = WindowLabel { window: name };
        used.get_or_create(&label)
            .set(window.used_percent_now() / 100.0);
        let at = window
            .resets_at
            .and_then(|at| at.duration_since(UNIX_EPOCH).ok());
        if let Some(at) = at {
            let seconds = i64::try_from(at.as_secs()).unwrap_or(i64::MAX);
            resets.get_or_create(&label).set(seconds);
        }
    }
    registry.register(
        "plan_used_ratio",
        "Part of the Codex plan's window that is used",
        used,
    );
    registry.register_with_unit(
        "plan_reset_timestamp",
        "When the window of the Codex plan begins anew",
        Unit::Seconds,
        resets,
    );
}

/// As Prometheus' own client libraries name them.
fn process_metrics(registry: &mut Registry) {
    let pid = i32::try_from(std::process::id()).unwrap_or_default();
    registry.register_with_unit(
        "process_resident_memory",
        "Memory of the sidecar itself",
        Unit::Bytes,
        ConstGauge::<u64>::new(process::rss_bytes(pid)),
    );
    registry.register(
        "process_open_fds",
        "Descriptors that the sidecar has open",
        ConstGauge::new(signed(process::open_descriptors())),
    );
}

fn signed(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
