//! The harness of `cargo xtask bench`: the cost of each part of the chain, compared with alternatives.
//!
//! A suite alternates between its variants within a round and reports medians over several rounds, so that disturbances
//! of the machine affect all variants alike. The performance goals are in `docs/performance.md`.
//!
//! The peers are those of the tests: Envoy, the sidecar, Codex, and the scripted model behind Codex. Where a suite
//! measures the sidecar alone, `instant-codex` replaces Codex.

mod client;
pub mod codex;
pub mod plot;
pub mod report;
mod settings;
mod stats;
mod suites;
pub mod timestamp;
mod usage;

pub use settings::Settings;
pub use suites::Suite;

use report::Section;

/// Runs one suite.
///
/// # Errors
/// When a peer is missing, or a response is not the expected one; the measured times would be meaningless.
pub async fn run(suite: Suite, settings: &Settings) -> anyhow::Result<Section> {
    suite.run(settings).await
}
