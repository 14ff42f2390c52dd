//! The filter that stands in Envoy before an OpenAI-shaped upstream: who may pass, how often, and to which model.
//!
//! Order of the checks, written once in [`policy`]: strip internal fields, preflight, route, key, request rate,
//! model, forward. `shell` is the only module that talks to the host, through `abi`; all others are pure.

#![deny(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]

mod abi;
pub mod auth;
pub mod body;
pub mod config;
pub mod cors;
pub mod head;
pub mod metrics;
pub mod model;
pub mod outcome;
pub mod policy;
pub mod rate_limit;
pub mod reply;
pub mod route;
pub mod scan;
mod shell;
