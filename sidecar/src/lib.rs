//! The sidecar of codex-edge: runs the Codex child processes and serves the APIs of OpenAI and Anthropic behind Envoy.
//!
//! A request goes down through [`server`] (connections), [`api`] (routes and handlers) and [`openai`] or [`anthropic`] (the
//! wire formats), becomes a [`turn::TurnRequest`], and runs on a child of [`codex`]. The child's lines come back as
//! [`turn::Event`]s, which the wire format writes as the response. Dropping the response body interrupts the turn: hyper drops
//! it when the client disconnects. Authentication, CORS and rate limits are the filter's, in Envoy.
//!
//! [`store`] keeps responses and reasoning between turns, [`telemetry`] has metrics and logs, [`process`] child processes, and
//! [`config`] and [`catalogue`] the settings. [`admin`] is the operator's listener, [`check`] is `sidecar --check`, and
//! [`keys`] `sidecar key`.

pub mod admin;
pub mod allocator;
pub mod anthropic;
pub mod api;
pub mod catalogue;
pub mod check;
pub mod codex;
pub mod config;
pub mod keys;
pub mod openai;
mod private_dir;
pub mod process;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod turn;

use std::error::Error;

/// Returns an error and its causes as one line, for the log.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    std::iter::successors(Some(error), |error| (*error).source())
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
}
