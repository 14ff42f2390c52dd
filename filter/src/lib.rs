//! The filter that stands in Envoy before an OpenAI-shaped upstream: who may pass, how often, and to which model.
//!
//! Order of the checks, written once in [`policy`]: strip internal fields, preflight, route, key, request rate,
//! model, forward. The host calls `exports`, which hands over to `http_context` and `root_context`, the only ones to ask `host`; all
//! others are pure.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

pub mod auth;
pub mod body;
pub mod config;
pub mod cors;
mod exports;
pub mod head;
mod host;
mod http_context;
pub mod metrics;
pub mod model;
pub mod policy;
pub mod rate_limit;
pub mod rejection;
pub mod reply;
mod root_context;
pub mod route;
pub mod scan;
