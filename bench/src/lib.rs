//! The harness behind `cargo xtask bench`: what each part of the chain costs, beside what it is compared with.
//! The aims are the contract's section 11; every suite measures its variants in turn within one run, so that the
//! machine's mood is the same for all, and reports medians of several rounds.
//!
//! The peers are those of the tests: real Envoy, real sidecar, real Codex, the scripted model behind it. Where the
//! sidecar alone is measured, `instant-codex` stands in for Codex.

mod client;
pub mod codex;
mod plot;
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
/// When something that it needs is missing, or an answer is not what it should be: such times mean nothing.
pub async fn run(suite: Suite, settings: &Settings) -> anyhow::Result<Section> {
    suite.run(settings).await
}
