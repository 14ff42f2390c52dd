//! The whole chain: real clients, the real Envoy with the filter, the real sidecar, the real Codex, the scripted model.

mod clients;
mod docs;
mod lifecycle;
mod readme;
mod responses;
mod stack;
mod status_page;
mod usage;
