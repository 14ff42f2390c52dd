//! The destinations of the telemetry of a process that exports.

use opentelemetry_sdk::trace::SdkTracer;

use super::instruments::Instruments;
use crate::config::GenAiNames;

/// The destinations; `None` for a signal that is not exported.
#[derive(Debug)]
pub(super) struct Recorders {
    pub(super) tracer: Option<SdkTracer>,
    pub(super) instruments: Option<Instruments>,
    pub(super) names: GenAiNames,
}
