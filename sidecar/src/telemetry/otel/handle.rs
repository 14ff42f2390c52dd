//! The handle with which requests and turns record their telemetry.

use std::sync::Arc;

use http::{HeaderMap, Method};
use opentelemetry_sdk::trace::SdkTracer;

use super::instruments::Instruments;
use super::recorders::Recorders;
use super::request_span::{RequestSpan, SpanParent};
use super::turn_facts::TurnFacts;
use super::turn_span::TurnSpan;
use crate::config::GenAiNames;

/// The handle; clones share the exporters. The default records nothing, at the cost of one comparison.
#[derive(Debug, Clone, Default)]
pub struct Otel(Option<Arc<Recorders>>);

impl Otel {
    pub(super) fn new(
        tracer: Option<SdkTracer>,
        instruments: Option<Instruments>,
        names: GenAiNames,
    ) -> Self {
        Self(Some(Arc::new(Recorders {
            tracer,
            instruments,
            names,
        })))
    }

    /// Starts the span of a request, as a child of the `traceparent` in `headers` if that is valid. `None` if traces are
    /// not exported.
    pub fn start_request(
        &self,
        method: &Method,
        route: &'static str,
        headers: &HeaderMap,
    ) -> Option<RequestSpan> {
        let tracer = self.0.as_ref()?.tracer.as_ref()?;
        Some(RequestSpan::start(tracer, method, route, headers))
    }

    /// Starts the span and the measurement of a turn, as a child of its request. `None` if nothing is exported.
    pub fn start_turn(
        &self,
        facts: &TurnFacts<'_>,
        parent: Option<&SpanParent>,
    ) -> Option<TurnSpan> {
        let recorders = self.0.as_ref()?;
        Some(TurnSpan::start(Arc::clone(recorders), facts, parent))
    }
}
