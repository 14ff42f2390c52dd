//! A proxy-wasm filter for Envoy in front of an OpenAI-compatible upstream: API keys, rate limits, models, CORS.
//!
//! The order of the checks is written once, in [`policy`]: internal headers are removed, then preflight, route, API
//! key, request rate, token budget, body size, requests in flight and model. Envoy calls `root_context` and `http_context`, which call Envoy through
//! `host`; these three are the only modules that name `proxy_wasm`, and all others are pure: no clock, no log, no host.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

pub mod auth;
pub mod body;
pub mod budget;
pub mod config;
pub mod cors;
pub mod head;
pub mod header_mutation;
mod host;
mod http_context;
pub mod in_flight;
pub mod metrics;
pub mod model;
pub mod policy;
pub mod rate_limit;
pub mod reply;
mod root_context;
pub mod route;
pub mod scan;
