//! Counters and histograms of requests and turns, and their exposition together with the gauges.
//! The format is OpenMetrics 1.0, which Prometheus reads. Label values come from enums of this crate, never from a client;
//! budgets alone have the ids of keys, which the operator chooses.

use std::time::Duration;

use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::registry::{Registry, Unit};

use super::gauges::{Gauges, registry_of};
use super::otel::ExportCounts;
use crate::turn::{FinishReason, Outcome, Usage};

/// The media type of the text that [`Metrics::expose`] returns.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Histogram buckets in seconds: from the overhead of the sidecar itself to the default request timeout.
const BUCKETS: [f64; 15] = [
    0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0,
];

type Histograms<L> = Family<L, Histogram, fn() -> Histogram>;

/// The metrics that accumulate over the life of the process.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    requests: Family<RequestLabels, Counter>,
    request_duration: Histograms<RouteLabel>,
    time_to_first_token: Histograms<RouteLabel>,
    turns: Family<OutcomeLabel, Counter>,
    turn_duration: Histogram,
    tokens: Family<KindLabel, Counter>,
    exports: ExportCounts,
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

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the label values")]
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
#[expect(non_camel_case_types, reason = "the names are the label values")]
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
                FinishReason::Stop | FinishReason::StopSequence(_) => Self::completed,
                FinishReason::Refused => Self::refused,
                FinishReason::ToolCalls => Self::tool_calls,
                FinishReason::Length | FinishReason::Budget(_) => Self::length,
                FinishReason::ContentFilter => Self::content_filter,
            },
            Outcome::Interrupted => Self::interrupted,
            Outcome::Failed(_) => Self::failed,
        }
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let histogram: fn() -> Histogram = || Histogram::new(BUCKETS);
        let mut metrics = Self {
            registry: Registry::with_prefix("sidecar"),
            requests: Family::default(),
            request_duration: Family::new_with_constructor(histogram),
            time_to_first_token: Family::new_with_constructor(histogram),
            turns: Family::default(),
            turn_duration: histogram(),
            tokens: Family::default(),
            exports: ExportCounts::default(),
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
            "Requests by route and response status",
            self.requests.clone(),
        );
        registry.register_with_unit(
            "request_duration",
            "Time from the request head to the end of the response",
            Unit::Seconds,
            self.request_duration.clone(),
        );
        registry.register_with_unit(
            "time_to_first_token",
            "Time from the request to the first text, reasoning or tool call",
            Unit::Seconds,
            self.time_to_first_token.clone(),
        );
        registry.register("turns", "Turns by outcome", self.turns.clone());
        registry.register_with_unit(
            "turn_duration",
            "Time from the request to the end of the turn, including the wait in the queue",
            Unit::Seconds,
            self.turn_duration.clone(),
        );
        registry.register(
            "tokens",
            "Tokens by kind; prompt includes cached, completion includes reasoning",
            self.tokens.clone(),
        );
        self.exports.register(registry);
    }

    /// Returns the counts of telemetry that did not reach the collector.
    pub fn export_counts(&self) -> &ExportCounts {
        &self.exports
    }

    /// Counts a request after its response has ended. `route` is a route pattern, not the path of the client.
    pub fn count_request(&self, route: &'static str, status: u16, duration: Duration) {
        self.requests
            .get_or_create(&RequestLabels {
                route,
                status: status.into(),
            })
            .inc();
        self.request_duration
            .get_or_create(&RouteLabel { route })
            .observe(duration.as_secs_f64());
    }

    /// Records the time to the first token of a turn.
    pub fn record_first_token(&self, route: &'static str, after: Duration) {
        let histogram = self
            .time_to_first_token
            .get_or_create(&RouteLabel { route });
        histogram.observe(after.as_secs_f64());
    }

    /// Counts a turn that has ended.
    pub fn count_turn(&self, outcome: &Outcome, usage: &Usage, duration: Duration) {
        self.turns
            .get_or_create(&OutcomeLabel {
                outcome: outcome.into(),
            })
            .inc();
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

    /// Returns all metrics as OpenMetrics text.
    pub fn expose(&self, gauges: &Gauges<'_>) -> String {
        let mut text = String::new();
        encode_into(&mut text, &self.registry);
        // An exposition has one end marker, after its last metric.
        text.truncate(text.trim_end_matches("# EOF\n").len());
        encode_into(&mut text, &registry_of(gauges));
        text
    }
}

fn encode_into(text: &mut String, registry: &Registry) {
    encode(text, registry).expect("writing to a string does not fail");
}
