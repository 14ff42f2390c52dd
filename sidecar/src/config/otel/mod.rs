//! The standard variables of OpenTelemetry -> an [`OtelConfig`].
//!
//! Sources: the OpenTelemetry specification, "Environment Variable Specification" and "OTLP Exporter". The SDK reads the
//! same variables itself, but replaces an invalid value by its default without an error; here it ends the start.

mod args;
mod parse;
#[cfg(test)]
mod tests;
mod types;

pub(super) use args::OtelArgs;
pub use types::{BatchConfig, GenAiNames, OtelConfig, OtlpTarget, SampledTraces};
