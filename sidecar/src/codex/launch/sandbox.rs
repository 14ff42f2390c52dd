//! What a turn of the `agent` profile is given: a sandbox that was seen to work here, and a folder of its own.
//! Codex 0.169: `thread/start` turns on, for one thread, the tools that the process's arguments turn off.

use std::io;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::config::SandboxMode;

/// How agents are kept.
#[derive(Debug, Clone)]
pub(in crate::codex) struct Agent {
    sandbox: SandboxMode,
    /// The models as the binary knows them, tools included.
    catalogue: PathBuf,
    /// Where turns get their folders.
    parent: PathBuf,
}

impl Agent {
    pub(in crate::codex) fn new(sandbox: SandboxMode, catalogue: PathBuf, parent: PathBuf) -> Self {
        Self {
            sandbox,
            catalogue,
            parent,
        }
    }

    /// A folder for one turn, which is removed when it is dropped.
    pub(in crate::codex) fn workspace(&self) -> io::Result<Workspace> {
        let folder = tempfile::Builder::new()
            .prefix("turn-")
            .tempdir_in(&self.parent)?;
        Ok(Workspace {
            folder,
            agent: self.clone(),
        })
    }

    /// The command that shows whether the sandbox works: it says `ok`, and fails to write where it must not.
    /// `None` where no sandbox was asked for.
    pub(in crate::codex) fn probe(&self, forbidden: &Path) -> Option<Vec<String>> {
        if self.sandbox == SandboxMode::DangerFullAccess {
            return None;
        }
        let mut command = vec!["sandbox".to_owned()];
        let mode = format!("sandbox_mode=\"{}\"", self.sandbox.as_str());
        let settings = NARROW.map(|name| format!("{name}=true"));
        for setting in settings.into_iter().chain([mode]) {
            command.extend(["-c".to_owned(), setting]);
        }
        let script = "echo ok; { : > \"$0\"; } 2>/dev/null && echo escaped";
        let shell = ["--", "/bin/sh", "-c", script].map(str::to_owned);
        command.extend(shell);
        command.push(forbidden.to_string_lossy().into_owned());
        Some(command)
    }
}

/// Folders that `workspace-write` opens beside the working directory; other turns' files may be in them.
const NARROW: [&str; 2] = [
    "sandbox_workspace_write.exclude_slash_tmp",
    "sandbox_workspace_write.exclude_tmpdir_env_var",
];

/// One turn's folder and what its thread is told.
#[derive(Debug)]
pub(in crate::codex) struct Workspace {
    folder: TempDir,
    agent: Agent,
}

impl Workspace {
    /// The working directory.
    pub(in crate::codex) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Codex's word for the sandbox.
    pub(in crate::codex) fn sandbox(&self) -> &'static str {
        self.agent.sandbox.as_str()
    }

    /// The settings of the thread, over those of the process.
    pub(in crate::codex) fn settings(&self) -> Value {
        let [slash_tmp, tmpdir] = NARROW;
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
