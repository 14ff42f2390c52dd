//! The GenAI metrics of turns, under the names of either version of the conventions, with the buckets that they give.
//! Sources: OpenTelemetry semantic conventions 1.36, "Generative AI metrics"; OpenTelemetry GenAI semantic conventions 0.1,
//! "client inference" and "inference token metrics".

use std::time::Duration;

use opentelemetry::KeyValue;
use opentelemetry::metrics::{Counter, Histogram, Meter};

use super::turn_facts::TurnResult;
use crate::config::GenAiNames;
use crate::telemetry::TokenSource;

const DURATIONS: [f64; 14] = [
    0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.28, 2.56, 5.12, 10.24, 20.48, 40.96, 81.92,
];
const FIRST_TOKEN: [f64; 16] = [
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0,
];
const OUTPUT_TOKEN: [f64; 13] = [
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5,
];
const TOKENS: [f64; 14] = [
    1.0,
    4.0,
    16.0,
    64.0,
    256.0,
    1_024.0,
    4_096.0,
    16_384.0,
    65_536.0,
    262_144.0,
    1_048_576.0,
    4_194_304.0,
    16_777_216.0,
    67_108_864.0,
];

/// The instruments of one version of the conventions.
#[derive(Debug)]
pub(super) enum Instruments {
    Version136(Version136),
    Latest(Latest),
}

/// Semantic conventions 1.36.
#[derive(Debug)]
pub(super) struct Version136 {
    tokens: Histogram<u64>,
    duration: Histogram<f64>,
    first_token: Histogram<f64>,
    output_token: Histogram<f64>,
}

/// GenAI semantic conventions 0.1.
#[derive(Debug)]
pub(super) struct Latest {
    duration: Histogram<f64>,
    first_chunk: Histogram<f64>,
    output_chunk: Histogram<f64>,
    input_used: Counter<u64>,
    output_used: Counter<u64>,
    cache_read_used: Counter<u64>,
    reasoning_used: Counter<u64>,
    input: Histogram<u64>,
    output: Histogram<u64>,
}

impl Instruments {
    pub(super) fn new(meter: &Meter, names: GenAiNames) -> Self {
        match names {
            GenAiNames::Version136 => Self::Version136(Version136::new(meter)),
            GenAiNames::Latest => Self::Latest(Latest::new(meter)),
        }
    }

    /// Whether the time of each chunk is a metric.
    pub(super) fn measures_chunks(&self) -> bool {
        matches!(self, Self::Latest(_))
    }

    /// Records the time between two chunks.
    pub(super) fn record_chunk(&self, time: Duration, attributes: &[KeyValue]) {
        match self {
            Self::Version136(_) => {}
            Self::Latest(latest) => latest.output_chunk.record(time.as_secs_f64(), attributes),
        }
    }

    /// Records a turn that has ended.
    pub(super) fn record(&self, result: &TurnResult<'_>, stream: bool, attributes: &[KeyValue]) {
        let with_error = with_error(attributes, result.record.error.as_deref());
        let duration = result.duration.as_secs_f64();
        match self {
            Self::Version136(instruments) => {
                instruments.duration.record(duration, &with_error);
                instruments.record_tokens(result, attributes);
                instruments.record_times(result, attributes);
            }
            Self::Latest(instruments) => {
                instruments.duration.record(duration, &with_error);
                instruments.record_tokens(result, attributes);
                if let Some(after) = result.first_token.filter(|_| stream) {
                    let after = after.as_secs_f64();
                    instruments.first_chunk.record(after, attributes);
                }
            }
        }
    }
}

impl Version136 {
    fn new(meter: &Meter) -> Self {
        let tokens = meter.u64_histogram("gen_ai.client.token.usage");
        Self {
            tokens: tokens
                .with_unit("{token}")
                .with_description("Number of input and output tokens used.")
                .with_boundaries(TOKENS.to_vec())
                .build(),
            duration: seconds(meter, "gen_ai.client.operation.duration", &DURATIONS),
            first_token: seconds(meter, "gen_ai.server.time_to_first_token", &FIRST_TOKEN),
            output_token: seconds(meter, "gen_ai.server.time_per_output_token", &OUTPUT_TOKEN),
        }
    }

    fn record_tokens(&self, result: &TurnResult<'_>, attributes: &[KeyValue]) {
        let record = result.record;
        if record.token_source != TokenSource::Reported {
            return;
        }
        for (kind, tokens) in [
            ("input", record.prompt_tokens),
            ("output", record.completion_tokens),
        ] {
            let attributes = with(attributes, KeyValue::new("gen_ai.token.type", kind));
            self.tokens.record(tokens, &attributes);
        }
    }

    /// Records the times of a successful turn.
    fn record_times(&self, result: &TurnResult<'_>, attributes: &[KeyValue]) {
        let (record, Some(first)) = (result.record, result.first_token) else {
            return;
        };
        if record.error.is_some() {
            return;
        }
        self.first_token.record(first.as_secs_f64(), attributes);
        let later = u32::try_from(record.completion_tokens.saturating_sub(1)).unwrap_or(u32::MAX);
        if record.token_source == TokenSource::Reported && later > 0 {
            let time = result.duration.saturating_sub(first) / later;
            self.output_token.record(time.as_secs_f64(), attributes);
        }
    }
}

impl Latest {
    fn new(meter: &Meter) -> Self {
        let used = |name: &'static str| meter.u64_counter(name).with_unit("{token}").build();
        let per_operation = |name: &'static str| {
            let tokens = meter.u64_histogram(name).with_unit("{token}");
            tokens.with_boundaries(TOKENS.to_vec()).build()
        };
        Self {
            duration: seconds(meter, "gen_ai.client.inference.duration", &DURATIONS),
            first_chunk: seconds(
                meter,
                "gen_ai.client.inference.time_to_first_chunk",
                &DURATIONS,
            ),
            output_chunk: seconds(
                meter,
                "gen_ai.client.inference.time_per_output_chunk",
                &DURATIONS,
            ),
            input_used: used("gen_ai.client.inference.usage.input_tokens"),
            output_used: used("gen_ai.client.inference.usage.output_tokens"),
            cache_read_used: used("gen_ai.client.inference.usage.cache_read.input_tokens"),
            reasoning_used: used("gen_ai.client.inference.usage.reasoning.output_tokens"),
            input: per_operation("gen_ai.client.inference.operation.input_tokens"),
            output: per_operation("gen_ai.client.inference.operation.output_tokens"),
        }
    }

    /// Records the tokens; 0 for a turn of which the provider has reported none.
    fn record_tokens(&self, result: &TurnResult<'_>, attributes: &[KeyValue]) {
        let record = result.record;
        let reported = record.token_source == TokenSource::Reported;
        let count = |tokens: u64| if reported { tokens } else { 0 };
        // Codex does not report tokens by modality.
        let unknown = with(
            attributes,
            KeyValue::new("gen_ai.token.modality", "unknown"),
        );
        for (counter, tokens) in [
            (&self.input_used, record.prompt_tokens),
            (&self.output_used, record.completion_tokens),
            (&self.cache_read_used, record.cached_tokens),
            (&self.reasoning_used, record.reasoning_tokens),
        ] {
            counter.add(count(tokens), &unknown);
        }
        if reported {
            self.input.record(record.prompt_tokens, attributes);
            self.output.record(record.completion_tokens, attributes);
        }
    }
}

fn seconds(meter: &Meter, name: &'static str, boundaries: &[f64]) -> Histogram<f64> {
    let histogram = meter.f64_histogram(name).with_unit("s");
    histogram.with_boundaries(boundaries.to_vec()).build()
}

fn with_error(attributes: &[KeyValue], error: Option<&str>) -> Vec<KeyValue> {
    let error = error.map(|error| KeyValue::new("error.type", error.to_owned()));
    attributes.iter().cloned().chain(error).collect()
}

fn with(attributes: &[KeyValue], more: KeyValue) -> Vec<KeyValue> {
    attributes.iter().cloned().chain([more]).collect()
}
