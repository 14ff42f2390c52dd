//! The Codex binary with the environment and working directory that all of its processes share, and its probes.

use std::ffi::OsString;
use std::io;
use std::path::PathBuf;
use std::process::{Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tokio::time::timeout;

use super::error::LaunchError;
use crate::process::{ProcessLimits, Program};

/// Time that a probe such as `codex --version` or `codex debug models` may take; a cold start took 0.3 s.
const PROBE_TIMEOUT: Duration = Duration::from_secs(20);

/// The Codex binary and the surroundings of its processes.
#[derive(Debug)]
pub(super) struct CodexBinary {
    pub(super) path: PathBuf,
    pub(super) environment: Vec<(OsString, OsString)>,
    pub(super) work_dir: PathBuf,
    pub(super) limits: ProcessLimits,
}

impl CodexBinary {
    /// Returns the program that runs Codex with `arguments`.
    pub(super) fn program(&self, arguments: Vec<OsString>) -> Program {
        Program {
            path: self.path.clone(),
            arguments,
            environment: self.environment.clone(),
            directory: self.work_dir.clone(),
            limits: self.limits,
        }
    }

    /// Runs Codex with `arguments` until it exits.
    ///
    /// # Errors
    /// Codex cannot be started, or does not exit within [`PROBE_TIMEOUT`].
    pub(super) async fn output(&self, arguments: &[&str]) -> io::Result<Output> {
        let program = self.program(arguments.iter().map(OsString::from).collect());
        let mut command = program.command();
        // A Codex that asks on its terminal gets the end of its input instead of waiting for an operator.
        command.stdin(Stdio::null());
        let elapsed = || {
            let problem = format!("no exit within {} seconds", PROBE_TIMEOUT.as_secs());
            io::Error::new(io::ErrorKind::TimedOut, problem)
        };
        timeout(PROBE_TIMEOUT, command.output())
            .await
            .unwrap_or_else(|_elapsed| Err(elapsed()))
    }

    /// Returns the first line of `codex --version`.
    ///
    /// # Errors
    /// The binary cannot be run.
    pub(super) async fn version_line(&self) -> Result<String, LaunchError> {
        let output = self
            .output(&["--version"])
            .await
            .map_err(|error| LaunchError::NoBinary(self.path.clone(), error))?;
        let text = String::from_utf8_lossy(&output.stdout);
        Ok(text.lines().next().unwrap_or_default().to_owned())
    }

    /// Returns the model catalogue that `codex debug models` prints; `settings` are `-c` arguments, `flags` those of the
    /// subcommand.
    ///
    /// # Errors
    /// Codex does not print one.
    pub(super) async fn models(
        &self,
        settings: &[(String, String)],
        flags: &[&str],
    ) -> Result<Value, LaunchError> {
        let pairs: Vec<_> = settings
            .iter()
            .map(|(key, value)| format!("{key}={value}"))
            .collect();
        let overrides = pairs.iter().flat_map(|pair| ["-c", pair]);
        let arguments: Vec<&str> = overrides
            .chain(["debug", "models"])
            .chain(flags.iter().copied())
            .collect();
        let failed = |error: String| LaunchError::Models(error);
        let output = self
            .output(&arguments)
            .await
            .map_err(|error| failed(error.to_string()))?;
        if !output.status.success() {
            let stderr = String::from_utf8_lossy(&output.stderr);
            return Err(failed(stderr.trim().to_owned()));
        }
        serde_json::from_slice(&output.stdout).map_err(|error| failed(error.to_string()))
    }
}
