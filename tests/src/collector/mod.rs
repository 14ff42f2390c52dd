//! A collector: a real receiver of OTLP over HTTP, which decodes traces and metrics with the types of the published
//! protobuf definitions (crate `opentelemetry-proto`).

mod received;
mod server;

pub use received::{Attributes, MetricPoints, Received, SpanRecord};
pub use server::{Collector, CollectorBehavior};
