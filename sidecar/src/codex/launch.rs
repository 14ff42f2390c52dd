//! How a Codex is started: its binary, home, arguments, environment and model catalogue.
//! The arguments make Codex a plain model: no shell, no patch, no web search, no MCP, no project documents.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::timeout;

use super::agent::Agent;
use super::catalogue;
use crate::config::Config;
use crate::leftovers;
use crate::process::Program;
use crate::turn::TurnError;

/// Time that `codex --version` and `codex debug models` may take; 0.3 s were seen on a cold start.
const PROBE_DEADLINE: Duration = Duration::from_secs(20);

/// The first release whose app-server speaks protocol v2 as we do; what lies between it and 0.42 is untried.
const OLDEST: (u64, u64) = (0, 169);

/// Features of Codex that a plain model has no use for. `-c features.X=false` is harmless where X is unknown.
const FEATURES_OFF: [&str; 31] = [
    "shell_tool",
    "unified_exec",
    "shell_snapshot",
    "view_image",
    "image_generation",
    "multi_agent",
    "multi_agent_v2",
    "goals",
    "apps",
    "plugins",
    "remote_plugin",
    "tool_suggest",
    "skill_search",
    "sleep_tool",
    "memories",
    "hooks",
    "code_mode",
    "code_mode_only",
    "code_mode_host",
    "browser_use",
    "computer_use",
    "in_app_browser",
    "workspace_dependencies",
    "skill_mcp_dependency_install",
    "tool_call_mcp_elicitation",
    "auth_elicitation",
    "incremental_tools",
    "unbounded_connection_retries",
    "web_search",
    "web_search_request",
    "apply_patch_freeform",
];

/// Settings beside the features: nothing of the machine gets into a prompt, nothing is cut or compacted silently.
const SETTINGS: [(&str, &str); 15] = [
    ("include_environment_context", "false"),
    ("include_permissions_instructions", "false"),
    ("include_collaboration_mode_instructions", "false"),
    ("include_apps_instructions", "false"),
    ("skills.include_instructions", "false"),
    ("web_search", "\"disabled\""),
    ("tools.experimental_request_user_input.enabled", "false"),
    ("tools.update_plan.enabled", "false"),
    ("project_doc_max_bytes", "0"),
    ("tool_output_token_limit", "1000000000"),
    ("thread_unload_delay_secs", "0"),
    ("analytics.enabled", "false"),
    ("check_for_update_on_startup", "false"),
    ("history.persistence", "\"none\""),
    ("approval_policy", "\"never\""),
];

/// Variables that a child gets when we have them; `CODEX_ENV_PASSTHROUGH` adds to them.
const ENVIRONMENT: [&str; 17] = [
    "PATH",
    "HOME",
    "USER",
    "LANG",
    "LC_ALL",
    "LC_CTYPE",
    "TZ",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "ALL_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "all_proxy",
    "no_proxy",
];

/// The provider that we define when none is forced: OpenAI's, with retries that never repeat a text.
const PROVIDER: &str = "codex-edge";

/// Why no Codex can be started. Each names what was found and what is needed.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// There is no such program.
    #[error(
        "CODEX_BIN={0} is not a program that can be run; install Codex (npm package @openai/codex) or name its path"
    )]
    NoBinary(PathBuf, #[source] io::Error),
    /// The program is no Codex, or one that we do not know how to talk to.
    #[error("CODEX_BIN={path} says its version is {found:?}; codex-cli {}.{} or newer is needed", OLDEST.0, OLDEST.1)]
    Version {
        /// What `CODEX_BIN` names.
        path: PathBuf,
        /// The first line of `--version`.
        found: String,
    },
    /// The program does not list its models.
    #[error("`codex debug models --bundled` failed: {0}")]
    Models(String),
    /// A folder cannot be used.
    #[error("{0} cannot be used")]
    Folder(PathBuf, #[source] io::Error),
}

/// A Codex that can be started, again and again. Dropping it removes the private folder.
#[derive(Debug)]
pub struct Launch {
    binary: PathBuf,
    version: String,
    provider: Option<String>,
    environment: Vec<(OsString, OsString)>,
    work: PathBuf,
    agent: Agent,
    sandbox_works: bool,
    private: TempDir,
}

impl Launch {
    /// Looks at the binary and makes what it needs on disk.
    ///
    /// # Errors
    /// The binary or a folder cannot be used.
    pub async fn prepare(config: &Config) -> Result<Self, LaunchError> {
        let home = private_folder(&config.codex_home)?;
        let private = tempfile::Builder::new()
            .prefix(&leftovers::folder_prefix())
            .tempdir()
            .map_err(|error| LaunchError::Folder(std::env::temp_dir(), error))?;
        let work = match &config.workdir {
            Some(folder) => existing_folder(folder)?,
            None => private_folder(&private.path().join("work"))?,
        };
        let temporary = private_folder(&private.path().join("tmp"))?;
        let mut launch = Self {
            binary: config.codex_bin.clone(),
            version: String::new(),
            environment: environment(&home, &temporary, &config.env_passthrough),
            provider: config.force_provider.clone(),
            agent: Agent::new(
                config.sandbox_mode,
                agent_catalogue(private.path()),
                work.clone(),
            ),
            sandbox_works: false,
            work,
            private,
        };
        launch.version = launch.probe_version().await?;
        launch.write_catalogues(&config.codex_models()).await?;
        launch.sandbox_works = launch.probe_sandbox().await;
        Ok(launch)
    }

    /// The binary's own version, such as `0.169.0`.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What runs `codex app-server`, and the folder for its databases, which grow with each turn; it is removed
    /// when it is dropped, which should be after the child has ended.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub fn app_server(&self) -> io::Result<(Program, TempDir)> {
        let databases = tempfile::Builder::new()
            .prefix("child-")
            .tempdir_in(self.private.path())?;
        let mut arguments = vec![OsString::from("app-server")];
        for (key, value) in self.settings(databases.path()) {
            arguments.push("-c".into());
            arguments.push(format!("{key}={value}").into());
        }
        Ok((self.program(arguments), databases))
    }

    fn program(&self, arguments: Vec<OsString>) -> Program {
        Program {
            path: self.binary.clone(),
            arguments,
            environment: self.environment.clone(),
            directory: self.work.clone(),
        }
    }

    fn settings(&self, databases: &Path) -> Vec<(String, String)> {
        let features = FEATURES_OFF.map(|name| (format!("features.{name}"), "false".to_owned()));
        let settings = SETTINGS.map(|(key, value)| (key.to_owned(), value.to_owned()));
        let mut all: Vec<_> = features.into_iter().chain(settings).collect();
        all.push((
            "model_catalog_json".into(),
            toml_string(&self.catalogue_path()),
        ));
        all.push(("sqlite_home".into(), toml_string(databases)));
        all.extend(self.provider_settings());
        all
    }

    /// Requests that failed before their first byte are tried again; streams are not, since a retry repeats the text.
    fn provider_settings(&self) -> Vec<(String, String)> {
        let name = self.provider.as_deref().unwrap_or(PROVIDER);
        let key = |field: &str| format!("model_providers.{name}.{field}");
        let mut settings = vec![
            ("model_provider".to_owned(), format!("\"{name}\"")),
            (key("request_max_retries"), "2".into()),
            (key("stream_max_retries"), "0".into()),
        ];
        if self.provider.is_none() {
            settings.push((key("name"), "\"OpenAI\"".into()));
            settings.push((key("requires_openai_auth"), "true".into()));
            settings.push((key("wire_api"), "\"responses\"".into()));
        }
        settings
    }

    fn catalogue_path(&self) -> PathBuf {
        self.private.path().join("models.json")
    }

    /// How turns of the `agent` profile are kept.
    ///
    /// # Errors
    /// The sandbox that was asked for does not work on this machine.
    pub(super) fn agent(&self) -> Result<&Agent, TurnError> {
        if self.sandbox_works {
            Ok(&self.agent)
        } else {
            Err(TurnError::NoSandbox)
        }
    }

    async fn probe_version(&self) -> Result<String, LaunchError> {
        let output = self
            .output(&["--version"])
            .await
            .map_err(|error| LaunchError::NoBinary(self.binary.clone(), error))?;
        let line = String::from_utf8_lossy(&output.stdout);
        let line = line.lines().next().unwrap_or_default();
        match parse_version(line) {
            Some((version, number)) if number >= OLDEST => Ok(version.to_owned()),
            Some(_) | None => Err(LaunchError::Version {
                path: self.binary.clone(),
                found: line.to_owned(),
            }),
        }
    }

    async fn write_catalogues(&self, models: &[String]) -> Result<(), LaunchError> {
        let failed = |error: &dyn std::fmt::Display| LaunchError::Models(error.to_string());
        let output = self
            .output(&["debug", "models", "--bundled"])
            .await
            .map_err(|error| failed(&error))?;
        if !output.status.success() {
            return Err(failed(&String::from_utf8_lossy(&output.stderr).trim()));
        }
        let bundled = serde_json::from_slice(&output.stdout).map_err(|error| failed(&error))?;
        let complete = catalogue::complete(bundled, models);
        let complete = complete.ok_or_else(|| failed(&"it lists no models"))?;
        write(&agent_catalogue(self.private.path()), &complete.to_string())?;
        let plain = catalogue::plain(complete);
        write(&self.catalogue_path(), &plain.to_string())
    }

    /// Whether what an agent runs stays in the sandbox that was asked for.
    async fn probe_sandbox(&self) -> bool {
        let forbidden = self.private.path().join("escaped");
        let Some(command) = self.agent.probe(&forbidden) else {
            tracing::warn!("danger-full-access was asked for: agents may do what this user may");
            return true;
        };
        let command: Vec<&str> = command.iter().map(String::as_str).collect();
        let said = self.output(&command).await.map(|output| output.stdout);
        let works = said.is_ok_and(|said| said == b"ok\n") && !forbidden.exists();
        if !works {
            tracing::warn!(
                "the sandbox does not work here: turns of the agent profile are refused"
            );
        }
        works
    }

    async fn output(&self, arguments: &[&str]) -> io::Result<Output> {
        let program = self.program(arguments.iter().map(OsString::from).collect());
        let mut command = program.command();
        command.stdin(std::process::Stdio::null());
        timeout(PROBE_DEADLINE, command.output())
            .await
            .unwrap_or_else(|_elapsed| {
                Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "it does not answer",
                ))
            })
    }
}

/// `codex-cli 0.169.0` -> (`0.169.0`, (0, 169)).
fn parse_version(line: &str) -> Option<(&str, (u64, u64))> {
    let version = line.strip_prefix("codex-cli ")?.trim();
    let mut numbers = version.split('.').map(str::parse::<u64>);
    let major = numbers.next()?.ok()?;
    let minor = numbers.next()?.ok()?;
    Some((version, (major, minor)))
}

fn environment(home: &Path, temporary: &Path, passthrough: &[String]) -> Vec<(OsString, OsString)> {
    let named = ENVIRONMENT
        .into_iter()
        .chain(passthrough.iter().map(String::as_str));
    let mut environment: Vec<_> = named
        .filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)))
        .collect();
    environment.push(("CODEX_HOME".into(), home.into()));
    environment.push(("TMPDIR".into(), temporary.into()));
    environment.push((leftovers::MARKER.into(), leftovers::owner().into()));
    environment
}

fn agent_catalogue(private: &Path) -> PathBuf {
    private.join("agent-models.json")
}

fn write(path: &Path, text: &str) -> Result<(), LaunchError> {
    std::fs::write(path, text).map_err(|error| LaunchError::Folder(path.to_owned(), error))
}

/// Makes the folder if need be, and closes it to everybody else.
fn private_folder(folder: &Path) -> Result<PathBuf, LaunchError> {
    let failed = |error| LaunchError::Folder(folder.to_owned(), error);
    let mut builder = std::fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed)?;
    let private = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(folder, private).map_err(failed)?;
    folder.canonicalize().map_err(failed)
}

fn existing_folder(folder: &Path) -> Result<PathBuf, LaunchError> {
    let failed = |error| LaunchError::Folder(folder.to_owned(), error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    folder.canonicalize().map_err(failed)
}

/// A path as a TOML basic string; JSON's escapes are a subset of TOML's.
fn toml_string(path: &Path) -> String {
    Value::from(path.to_string_lossy()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read_as_codex_writes_them() {
        for (line, expected) in [
            ("codex-cli 0.169.0", Some(("0.169.0", (0, 169)))),
            ("codex-cli 1.2.3-alpha.4", Some(("1.2.3-alpha.4", (1, 2)))),
            ("codex-cli", None),
            ("node v20", None),
            ("", None),
        ] {
            assert_eq!(parse_version(line), expected, "{line}");
        }
    }

    #[test]
    fn a_child_gets_no_variable_that_is_not_on_the_list() {
        let environment = environment(
            Path::new("/home"),
            Path::new("/tmp"),
            &["CARGO_PKG_NAME".to_owned()],
        );
        let names: Vec<_> = environment
            .iter()
            .map(|(name, _)| name.to_str().unwrap())
            .collect();
        assert!(names.contains(&"CODEX_HOME"));
        assert!(names.contains(&"CARGO_PKG_NAME"), "asked for by name");
        assert!(!names.contains(&"CARGO_MANIFEST_DIR"), "{names:?}");
    }
}
