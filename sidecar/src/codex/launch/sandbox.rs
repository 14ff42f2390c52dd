//! The sandbox of turns of the `agent` profile, and the workspace folder of each such turn.
//! In Codex 0.169 the `thread/start` call turns on, for one thread, the tools that the process's arguments turn off.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::config::SandboxMode;

/// The sandbox of agent turns.
#[derive(Debug, Clone)]
pub(in crate::codex) struct AgentSandbox {
    mode: SandboxMode,
    /// Model catalogue with the models' tools.
    catalogue: PathBuf,
    /// Parent of the turns' workspace folders.
    parent: PathBuf,
}

impl AgentSandbox {
    pub(in crate::codex) fn new(mode: SandboxMode, catalogue: PathBuf, parent: PathBuf) -> Self {
        Self {
            mode,
            catalogue,
            parent,
        }
    }

    /// Returns Codex's name of the sandbox mode.
    pub(in crate::codex) fn mode(&self) -> &'static str {
        self.mode.as_str()
    }

    /// Creates a workspace for one turn. Dropping it removes its folder.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub(in crate::codex) fn workspace(&self) -> io::Result<Workspace> {
        let folder = tempfile::Builder::new()
            .prefix("turn-")
            .tempdir_in(&self.parent)?;
        Ok(Workspace {
            folder,
            agent: self.clone(),
        })
    }

    /// Returns the arguments of a command that prints `ok`, and tries to write to `forbidden`, which a working sandbox
    /// prevents. `None` for `danger-full-access`.
    pub(in crate::codex) fn probe_command(&self, forbidden: &Path) -> Option<Vec<String>> {
        if self.mode == SandboxMode::DangerFullAccess {
            return None;
        }
        let mut command = vec!["sandbox".to_owned()];
        let mode = format!("sandbox_mode=\"{}\"", self.mode());
        let settings = TMP_EXCLUSIONS.map(|name| format!("{name}=true"));
        for setting in settings.into_iter().chain([mode]) {
            command.extend(["-c".to_owned(), setting]);
        }
        // The path is an argument of the shell, so that no character in the path is expanded.
        let script = "echo ok; { : > \"$0\"; } 2>/dev/null && echo escaped";
        let shell = ["--", "/bin/sh", "-c", script].map(str::to_owned);
        command.extend(shell);
        command.push(forbidden.to_string_lossy().into_owned());
        Some(command)
    }
}

/// Settings that close the folders which `workspace-write` opens beside the working directory. Other turns' files may
/// be in those folders.
const TMP_EXCLUSIONS: [&str; 2] = [
    "sandbox_workspace_write.exclude_slash_tmp",
    "sandbox_workspace_write.exclude_tmpdir_env_var",
];

/// The folder of one agent turn, and the settings of its thread.
#[derive(Debug)]
pub(in crate::codex) struct Workspace {
    folder: TempDir,
    agent: AgentSandbox,
}

impl Workspace {
    /// Returns the working directory.
    pub(in crate::codex) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Returns Codex's name of the sandbox mode.
    pub(in crate::codex) fn sandbox(&self) -> &'static str {
        self.agent.mode()
    }

    /// Returns the settings of the thread, which override those of the process.
    pub(in crate::codex) fn settings(&self) -> Value {
        let [slash_tmp, tmpdir] = TMP_EXCLUSIONS;
        json!({
            "features.shell_tool": true,
            "features.unified_exec": true,
            "include_environment_context": true,
            "include_permissions_instructions": true,
            "tools.update_plan.enabled": true,
            "model_catalog_json": self.agent.catalogue.to_string_lossy(),
            slash_tmp: true,
            tmpdir: true,
        })
    }
}
