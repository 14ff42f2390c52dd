//! The programs and files of a stack, which a clone builds and fetches, and an installed package brings along.

use std::path::PathBuf;

use anyhow::Result;

use super::mode::Mode;
use crate::program::Program;

/// A place that programs and files come from.
pub trait Source {
    /// Returns the Envoy to run.
    ///
    /// # Errors
    /// When it is missing; the message says how to get it.
    fn envoy(&self) -> Result<Program>;

    /// Returns the Codex to run.
    ///
    /// # Errors
    /// When it is missing; the message says how to get it.
    fn codex(&self) -> Result<Program>;

    /// Returns the Codex home of the live mode, which `CODEX_HOME` overrides.
    ///
    /// # Errors
    /// When the place depends on a variable that is not set.
    fn codex_home(&self) -> Result<PathBuf>;

    /// Returns the files that `mode` needs, after they are built.
    ///
    /// # Errors
    /// When a file is missing or cannot be built.
    fn files(&self, mode: &Mode) -> Result<StackFiles>;
}

/// The parts of a stack that belong to codex-edge.
#[derive(Debug)]
pub struct StackFiles {
    /// The program `sidecar`.
    pub sidecar: PathBuf,
    /// The program `scripted-model`, the provider of the demo.
    pub scripted_model: PathBuf,
    /// The compiled filter.
    pub filter_wasm: PathBuf,
    /// The folder of `envoy.yaml` and `filter.yaml`.
    pub configuration: PathBuf,
}
