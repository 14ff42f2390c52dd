//! Counts of telemetry that did not reach the collector, and a log line about it once a minute at most.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, EncodeLabelValue};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tokio::time::Instant;
use tracing::warn;

/// Time between two log lines. A collector that is away fails every few seconds.
const LOG_INTERVAL: Duration = Duration::from_secs(60);

/// The counts of one process; clones share them.
#[derive(Debug, Clone, Default)]
pub struct ExportCounts {
    spans_dropped: Counter,
    failures: Family<SignalLabel, Counter>,
    logged: Arc<Mutex<Option<Instant>>>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct SignalLabel {
    signal: Signal,
}

/// A kind of telemetry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, EncodeLabelValue)]
#[expect(non_camel_case_types, reason = "the names are the label values")]
pub(super) enum Signal {
    traces,
    metrics,
}

impl ExportCounts {
    /// Adds the counters to a registry.
    pub(crate) fn register(&self, registry: &mut Registry) {
        registry.register(
            "otel_spans_dropped",
            "Spans that did not reach the collector: the queue was full, or the export failed",
            self.spans_dropped.clone(),
        );
        registry.register(
            "otel_export_failures",
            "Failed exports by signal; the next export of metrics has the values of a failed one",
            self.failures.clone(),
        );
    }

    /// Counts a span that found the queue full.
    pub(super) fn on_full_queue(&self) {
        self.spans_dropped.inc();
        self.log(Signal::traces, "the queue is full");
    }

    /// Counts a failed export with the spans that it lost.
    pub(super) fn on_failure(&self, signal: Signal, spans: u64, error: &str) {
        self.spans_dropped.inc_by(spans);
        self.failures.get_or_create(&SignalLabel { signal }).inc();
        self.log(signal, error);
    }

    fn log(&self, signal: Signal, error: &str) {
        let mut logged = self.logged.lock().unwrap_or_else(PoisonError::into_inner);
        if logged.is_none_or(|logged| logged.elapsed() >= LOG_INTERVAL) {
            *logged = Some(Instant::now());
            let spans_dropped = self.spans_dropped.get();
            warn!(?signal, error, spans_dropped, "telemetry export failed");
        }
    }
}
