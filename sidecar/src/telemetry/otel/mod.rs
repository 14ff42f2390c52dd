//! Export of traces and metrics over OTLP: a span for each request and for each turn, and the GenAI metrics.
//! docs/tracing.md describes it for operators.
//!
//! The spans are started and ended where the access log and the usage log observe a request and a turn.
//! `tracing-opentelemetry`, which turns the spans of the log into exported ones, was considered and is not used: which spans
//! of the log exist depends on `RUST_LOG`, their fields are chosen for the log and not for a collector, and its layer would
//! look at every event of the log. Exported attributes are listed in `request_span` and `turn_span` alone, so that no text of
//! a conversation can reach them.

mod counts;
mod export;
mod handle;
mod http_client;
mod instruments;
mod recorders;
mod request_span;
mod span_queue;
mod turn_facts;
mod turn_span;

pub use counts::ExportCounts;
pub use export::OtelExport;
pub use handle::Otel;
pub use request_span::{RequestSpan, SpanParent};
pub use turn_facts::{TurnFacts, TurnResult};
pub use turn_span::TurnSpan;
