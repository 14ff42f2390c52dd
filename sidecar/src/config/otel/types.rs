//! The export of traces and metrics as the rest of the sidecar uses it.

use std::collections::HashMap;
use std::fmt;
use std::num::NonZeroUsize;
use std::time::Duration;

/// The export of traces, metrics or both.
#[derive(Debug, Clone)]
pub struct OtelConfig {
    /// Collector of traces; `None` exports none.
    pub traces: Option<OtlpTarget>,
    /// Collector of metrics; `None` exports none.
    pub metrics: Option<OtlpTarget>,
    /// `service.name` of the resource.
    pub service_name: String,
    /// Further attributes of the resource.
    pub resource: Vec<(String, String)>,
    /// Traces that are sampled.
    pub sampled: SampledTraces,
    /// Queue and batches of spans.
    pub batches: BatchConfig,
    /// Time between two exports of metrics.
    pub metric_interval: Duration,
    /// Names of the GenAI metrics and attributes.
    pub names: GenAiNames,
}

/// A collector that accepts OTLP over HTTP.
#[derive(Clone, PartialEq, Eq)]
pub struct OtlpTarget {
    /// URL of the signal, with its path.
    pub url: String,
    /// Headers of each export; they may hold a credential.
    pub headers: HashMap<String, String>,
    /// Time for one export, with its retries.
    pub timeout: Duration,
    /// Whether bodies are compressed.
    pub gzip: bool,
}

impl fmt::Debug for OtlpTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OtlpTarget")
            .field("url", &self.url)
            .field("headers", &"[redacted]")
            .field("timeout", &self.timeout)
            .field("gzip", &self.gzip)
            .finish()
    }
}

/// The traces that are sampled.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct SampledTraces {
    /// Whether the decision of the caller, in `traceparent`, counts.
    pub follows_caller: bool,
    /// The share of the other traces, from 0 to 1.
    pub ratio: f64,
}

/// Queue and batches of spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BatchConfig {
    /// Maximum number of spans that wait for their export; further ones are dropped.
    pub queue: NonZeroUsize,
    /// Maximum number of spans in one export.
    pub batch: NonZeroUsize,
    /// Longest wait of a span for a full batch.
    pub delay: Duration,
}

/// The names of the GenAI metrics and attributes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum GenAiNames {
    /// Semantic conventions 1.36, which instrumentations keep by default.
    Version136,
    /// `gen_ai_latest_experimental`: the GenAI semantic conventions of their own repository, version 0.1.
    Latest,
}
