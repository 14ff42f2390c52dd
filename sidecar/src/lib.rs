//! The sidecar of codex-edge: owns the Codex child processes and answers OpenAI-shaped requests that Envoy let through.
//!
//! Bytes of a request become a [`turn::TurnRequest`] in [`openai`]; [`codex`] finds a child for it, whose lines become
//! [`turn::Event`]s, which the dialect writes as the answer. Dropping the answer is the client leaving: the turn is
//! interrupted in the child. Who may call was decided in Envoy, by the filter.

pub mod admin;
pub mod api;
pub mod catalogue;
pub mod check;
pub mod codex;
pub mod config;
pub mod openai;
pub mod process;
pub mod server;
pub mod store;
pub mod telemetry;
pub mod turn;

use std::error::Error;

/// An error with its causes, for the log.
pub fn error_chain(error: &(dyn Error + 'static)) -> String {
    let causes = std::iter::successors(error.source(), |cause| (*cause).source());
    let chain = std::iter::once(error.to_string()).chain(causes.map(ToString::to_string));
    chain.collect::<Vec<_>>().join(": ")
}
