//! `cargo xtask up`: the stack of `codex-edge up`, with the programs that this clone builds and fetches.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use codex_edge::program::Program;
pub use codex_edge::up::UpArgs;
use codex_edge::up::{self, Mode, Source, StackFiles};

use crate::tools::{self, Tool, Tools};
use crate::{build, workspace};

/// Fetches, builds and starts the stack, follows its logs, and stops on a signal.
///
/// # Errors
/// When the stack cannot be started; the message names the missing part.
pub fn up(args: &UpArgs) -> Result<ExitCode> {
    up::up(args, &CloneSource(Tools::open()))
}

/// A clone of the repository, with its fetched tools.
struct CloneSource(Tools);

impl Source for CloneSource {
    fn envoy(&self) -> Result<Program> {
        tools::choose(&self.0, Tool::Envoy, "ENVOY_BIN")
    }

    fn codex(&self) -> Result<Program> {
        tools::choose(&self.0, Tool::Codex, "CODEX_BIN")
    }

    fn codex_home(&self) -> Result<PathBuf> {
        Ok(workspace::root().join(".codex-api"))
    }

    fn files(&self, mode: &Mode) -> Result<StackFiles> {
        build::filter()?;
        build::sidecar()?;
        match mode {
            Mode::Demo => build::scripted_model()?,
            Mode::Live { .. } => {}
        }
        Ok(StackFiles {
            sidecar: workspace::release_binary("sidecar"),
            scripted_model: workspace::release_binary("scripted-model"),
            filter_wasm: workspace::filter_wasm(),
            configuration: workspace::configuration(),
        })
    }
}
