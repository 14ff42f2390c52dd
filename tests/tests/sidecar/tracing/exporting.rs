//! The fixture of these tests: a collector, and a sidecar that exports to it.

use serde_json::{Value, json};
use tests::collector::{Collector, CollectorBehavior};
use tests::scripted_model::ScriptedModel;
use tests::sidecar::{Sidecar, SidecarOptions};

use crate::stack::start_with;

/// A word that occurs in prompts and answers alone.
pub(super) const WORD: &str = "xylophonium";

/// Starts a collector that accepts, a model, and a sidecar that exports to it at once, with further variables.
pub(super) async fn start_exporting(more: &[(&str, &str)]) -> (Collector, ScriptedModel, Sidecar) {
    let collector = Collector::start(CollectorBehavior::Accept).await;
    let (model, sidecar) = start_with(|options| exporting(options, &collector, more)).await;
    (collector, model, sidecar)
}

/// Adds the variables of an export without delay.
pub(super) fn exporting(
    options: SidecarOptions,
    collector: &Collector,
    more: &[(&str, &str)],
) -> SidecarOptions {
    let endpoint = collector.endpoint();
    let variables = [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", endpoint.as_str()),
        ("OTEL_BSP_SCHEDULE_DELAY", "10"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "50"),
    ];
    let all = variables.iter().chain(more);
    all.fold(options, |options, (name, value)| options.env(name, value))
}

/// An answer of the model with the word, and its usage.
pub(super) fn answer() -> Value {
    json!([
        {"text": format!("{WORD} one ")},
        {"text": "two"},
        {"usage": {"input_tokens": 100, "cached_tokens": 40, "output_tokens": 20, "reasoning_tokens": 5}},
    ])
}
