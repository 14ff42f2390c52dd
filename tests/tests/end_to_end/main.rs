//! Tests of the whole chain: real clients, Envoy with the filter, the sidecar, Codex, and the scripted model.

mod budgets;
mod clients;
mod docs;
mod fleet;
mod lifecycle;
mod readme;
mod responses;
mod stack;
mod status_page;
mod tracing;
mod usage;
