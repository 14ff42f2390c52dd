//! The export of traces and metrics over OTLP, to a receiver that decodes the published protobuf definitions.

mod exporting;
mod failures;
mod metrics;
mod spans;
