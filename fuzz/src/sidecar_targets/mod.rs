//! Targets for the sidecar's parsers and its protocols with Codex.

pub(crate) mod app_server;
pub(crate) mod bodies;
mod child;
pub(crate) mod flags;
mod lines;
pub(crate) mod models;
pub(crate) mod proto;
pub(crate) mod trace;
pub(crate) mod truncation;
pub(crate) mod usage;
