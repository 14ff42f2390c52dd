//! The sandbox of turns of the `agent` profile, and the workspace folder of each such turn.
//! In Codex 0.169 the `thread/start` call turns on, for one thread, the tools that the process's arguments turn off.

use std::fs;
use std::future::pending;
use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};
use tokio::task::spawn_blocking;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::agent_clients::AgentPlace;
use super::directories::create_private_dir;
use super::error::LaunchError;
use super::models;
use crate::config::{Config, SandboxMode};
use crate::process::{
    AgentProcessLimits, AgentProcesses, ExceededLimit, OwnedFolder, TURN_ENV, folder_bytes, orphans,
};
use crate::turn::{TokenCap, TurnError};

/// The sandbox of agent turns.
#[derive(Debug, Clone)]
pub(in crate::codex) struct AgentSandbox {
    mode: SandboxMode,
    /// Model catalogue with the models' tools.
    catalogue: PathBuf,
    /// Parent of the turns' workspace folders.
    parent: PathBuf,
    /// Maximum size of a workspace folder.
    max_bytes: Option<NonZeroU64>,
    /// The limits of the processes of a turn.
    processes: AgentProcessLimits,
    /// The files that commands must not read; `None` where the sandbox can hide none.
    hidden: Option<HiddenFiles>,
    /// Whether Codex can cap the tokens of a thread.
    caps_tokens: bool,
}

/// The files of the sidecar that commands of agents must not read.
#[derive(Debug, Clone)]
struct HiddenFiles {
    /// The operator's home, with the login, and the logs.
    paths: Vec<PathBuf>,
    /// The folder with the homes of the children.
    private: PathBuf,
}

/// Name of the permission profile in Codex's configuration.
const PERMISSIONS: &str = "codex-edge";

/// Name of the folder of all workspaces in the working directory of the children.
const TURNS: &str = "codex-edge-turns";

/// The start of the name of a workspace folder; the mark of its owner follows.
const FOLDER_PREFIX: &str = "turn-";

/// Time between two measurements of a workspace folder. The kernel limits each single file at once.
const MEASURE_INTERVAL: Duration = Duration::from_secs(1);

/// Time between two counts of the processes of a turn, each of which takes about a millisecond. The service manager's limit
/// bounds what is started in between.
const COUNT_INTERVAL: Duration = Duration::from_millis(250);

impl AgentSandbox {
    /// Returns the sandbox of the configuration, with the folders of its turns below `work_dir`, and removes the folders
    /// that an earlier sidecar has left there. `private` is the folder of this process.
    ///
    /// # Errors
    /// The folder of the turns cannot be created.
    pub(in crate::codex) fn new(
        config: &Config,
        work_dir: &Path,
        private: &Path,
        home: &Path,
    ) -> Result<Self, LaunchError> {
        let parent = create_private_dir(&work_dir.join(TURNS))?;
        orphans::reap_folders(&parent, FOLDER_PREFIX);
        let logs = std::iter::once(&config.usage_log.path).chain(&config.protocol_log);
        let hidden = HiddenFiles {
            paths: std::iter::once(home.to_owned())
                .chain(logs.flat_map(|log| [log.clone(), log.with_added_extension("1")]))
                .collect(),
            private: private.to_owned(),
        };
        Ok(Self {
            mode: config.sandbox_mode,
            catalogue: models::agent_path(private),
            parent,
            max_bytes: config.limits.agents.folder_bytes,
            processes: AgentProcessLimits {
                processes: config.limits.agents.processes,
                memory_bytes: config.limits.agents.memory_bytes,
            },
            hidden: (config.sandbox_mode != SandboxMode::DangerFullAccess).then_some(hidden),
            caps_tokens: false,
        })
    }

    /// Returns this sandbox for a Codex that can cap the tokens of a thread, or cannot.
    pub(in crate::codex) fn with_token_caps(self, caps_tokens: bool) -> Self {
        Self {
            caps_tokens,
            ..self
        }
    }

    /// Returns this sandbox without hidden files, for a system or a Codex that cannot hide any.
    pub(in crate::codex) fn without_hidden_files(self) -> Self {
        Self {
            hidden: None,
            ..self
        }
    }

    /// Whether commands cannot read the sidecar's files, and not those of other turns.
    pub(in crate::codex) fn hides_files(&self) -> bool {
        self.hidden.is_some()
    }

    /// Returns the permissions of commands in `own`, the folder of a turn. Codex masks the paths with `none` in a mount
    /// namespace of each command. A folder inside a masked one is visible again only if it is writable; without
    /// write access the folders of all turns stay empty, and need no mask.
    fn permissions(&self, hidden: &HiddenFiles, own: Option<&Path>) -> Value {
        let mut paths = serde_json::Map::new();
        let mut set = |path: &Path, access: &str| {
            paths.insert(path.to_string_lossy().into_owned(), access.into());
        };
        set(Path::new(":root"), "read");
        let entries = fs::read_dir(&hidden.private)
            .into_iter()
            .flatten()
            .flatten();
        let children = entries
            .filter(|entry| entry.file_name().to_string_lossy().starts_with("child-"))
            .map(|entry| entry.path());
        let mut masked: Vec<PathBuf> = Vec::new();
        for path in hidden.paths.iter().cloned().chain(children) {
            // A link, such as that to a log on another disk, is not what a command opens.
            let Ok(path) = path.canonicalize() else {
                continue;
            };
            // Codex cannot mask a file in a folder that is masked already, such as a log in the home.
            if !masked.iter().any(|folder| path.starts_with(folder)) {
                set(&path, "none");
                masked.push(path);
            }
        }
        if self.mode == SandboxMode::WorkspaceWrite {
            set(&self.parent, "none");
            if let Some(own) = own {
                set(own, "write");
            }
        }
        json!({ PERMISSIONS: { "filesystem": paths } })
    }

    /// Returns Codex's name of the sandbox mode.
    pub(in crate::codex) fn mode(&self) -> &'static str {
        self.mode.as_str()
    }

    /// Creates a workspace for one turn. Dropping it removes its folder.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub(in crate::codex) fn workspace(&self, place: AgentPlace) -> io::Result<Workspace> {
        let prefix = format!("{FOLDER_PREFIX}{}-", orphans::owner());
        let folder = OwnedFolder::create_in(&self.parent, &prefix)?;
        let processes = Arc::new(AgentProcesses::of(folder.path()));
        Ok(Workspace {
            processes: KilledOnDrop(processes),
            folder,
            agent: self.clone(),
            _place: place,
        })
    }

    /// Returns the arguments of a command that prints `ok`, and tries to write to `forbidden` and to read `hidden`, which
    /// a working sandbox prevents. `None` for `danger-full-access`.
    pub(in crate::codex) fn probe_command(
        &self,
        forbidden: &Path,
        hidden: &Path,
    ) -> Option<Vec<String>> {
        if self.mode == SandboxMode::DangerFullAccess {
            return None;
        }
        let mut command = vec!["sandbox".to_owned()];
        let settings = match &self.hidden {
            Some(files) => vec![
                format!("default_permissions=\"{PERMISSIONS}\""),
                format!("permissions={}", toml_value(&self.permissions(files, None))),
            ],
            None => TMP_EXCLUSIONS
                .map(|name| format!("{name}=true"))
                .into_iter()
                .chain([format!("sandbox_mode=\"{}\"", self.mode())])
                .collect(),
        };
        for setting in settings {
            command.extend(["-c".to_owned(), setting]);
        }
        // The paths are arguments of the shell, so that no character in a path is expanded.
        let script = match &self.hidden {
            Some(_) => {
                "echo ok; { : > \"$0\"; } 2>/dev/null && echo escaped; cat \"$1\" 2>/dev/null"
            }
            None => "echo ok; { : > \"$0\"; } 2>/dev/null && echo escaped",
        };
        let shell = ["--", "/bin/sh", "-c", script].map(str::to_owned);
        command.extend(shell);
        let paths = [forbidden, hidden].map(|path| path.to_string_lossy().into_owned());
        command.extend(paths);
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
    // Before the folder, in which the processes may still write.
    processes: KilledOnDrop,
    // Before the place: the folder is removed first, so that the next client's agents do not find it.
    folder: OwnedFolder,
    agent: AgentSandbox,
    _place: AgentPlace,
}

impl Workspace {
    /// Returns the working directory.
    pub(in crate::codex) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Completes when the turn exceeds a limit of its folder or of its processes, which have then been killed.
    pub(in crate::codex) fn exceeded(&self) -> impl Future<Output = TurnError> + Send + use<> {
        let outgrown = outgrown(self.folder().to_owned(), self.agent.max_bytes);
        let processes = exceeded(Arc::clone(&self.processes.0), self.agent.processes);
        async move {
            tokio::select! {
                () = outgrown => TurnError::WorkspaceFull,
                limit = processes => match limit {
                    ExceededLimit::Processes => TurnError::TooManyProcesses,
                    ExceededLimit::Memory => TurnError::AgentMemory,
                },
            }
        }
    }

    /// Returns Codex's name of the sandbox mode; `None` if the settings have permissions, which Codex would ignore beside a
    /// mode.
    pub(in crate::codex) fn sandbox(&self) -> Option<&'static str> {
        self.agent.hidden.is_none().then(|| self.agent.mode())
    }

    /// Returns the settings of a thread with this cap, which override those of the process.
    pub(in crate::codex) fn settings(&self, cap: Option<&TokenCap>) -> Value {
        let [slash_tmp, tmpdir] = TMP_EXCLUSIONS;
        let mut settings = json!({
            "features.shell_tool": true,
            "features.unified_exec": true,
            "include_environment_context": true,
            "include_permissions_instructions": true,
            "tools.update_plan.enabled": true,
            "model_catalog_json": self.agent.catalogue.to_string_lossy(),
            slash_tmp: true,
            tmpdir: true,
        });
        settings[format!("shell_environment_policy.set.{TURN_ENV}")] =
            self.processes.0.mark().into();
        if let Some(cap) = cap.filter(|_| self.agent.caps_tokens) {
            settings["features.rollout_budget"] = rollout_budget(cap);
        }
        if let Some(hidden) = &self.agent.hidden {
            settings["default_permissions"] = PERMISSIONS.into();
            settings["permissions"] = self.agent.permissions(hidden, Some(self.folder()));
        }
        settings
    }
}

/// Returns Codex's setting for a cap, which ends the turn with `sessionBudgetExceeded`.
fn rollout_budget(cap: &TokenCap) -> Value {
    json!({
        "enabled": true,
        // Codex ends the turn above the limit, not at it.
        "limit_tokens": cap.tokens.saturating_sub(1).max(1),
        "prefill_token_weight": cap.input_weight,
        "sampling_token_weight": cap.output_weight,
        "reminder_at_remaining_tokens": [],
        "reminder_at_context_start": false,
    })
}

/// The processes of a turn, which do not outlive the workspace.
#[derive(Debug)]
struct KilledOnDrop(Arc<AgentProcesses>);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        self.0.kill();
    }
}

/// Completes when the folder at `path` exceeds its maximum size, or hides its size.
async fn outgrown(path: PathBuf, max_bytes: Option<NonZeroU64>) {
    let Some(max) = max_bytes else {
        return pending().await;
    };
    let mut tick = regular(MEASURE_INTERVAL);
    loop {
        tick.tick().await;
        let path = path.clone();
        let bytes = spawn_blocking(move || folder_bytes(&path)).await;
        if !matches!(bytes, Ok(Ok(bytes)) if bytes <= max.get()) {
            return;
        }
    }
}

/// Completes when the processes exceed a limit, after they were killed.
async fn exceeded(processes: Arc<AgentProcesses>, limits: AgentProcessLimits) -> ExceededLimit {
    if limits.processes.is_none() && limits.memory_bytes.is_none() {
        return pending().await;
    }
    let mut tick = regular(COUNT_INTERVAL);
    loop {
        tick.tick().await;
        let processes = Arc::clone(&processes);
        let limit = spawn_blocking(move || {
            let limit = processes.exceeded(limits)?;
            // Here rather than at the end of the turn, which Codex may be slow to reach among many processes.
            processes.kill();
            Some(limit)
        });
        if let Ok(Some(limit)) = limit.await {
            return limit;
        }
    }
}

/// Returns an interval that makes up for no missed tick.
fn regular(period: Duration) -> Interval {
    let mut tick = interval(period);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tick
}

/// Writes a JSON object as an inline table of TOML. JSON's strings are strings of TOML too.
fn toml_value(value: &Value) -> String {
    match value {
        Value::Object(fields) => {
            let fields: Vec<_> = fields
                .iter()
                .map(|(name, value)| {
                    format!("{} = {}", Value::from(name.as_str()), toml_value(value))
                })
                .collect();
            format!("{{{}}}", fields.join(", "))
        }
        other => other.to_string(),
    }
}
