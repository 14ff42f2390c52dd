//! How a Codex is started: its binary, home, environment, provider and model catalogue.
//! Whatever of Codex's command line both protocols share, `-c key=value` with a value in TOML.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Output;
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;
use tokio::time::timeout;

use super::config_toml::ConfigToml;
use super::directories::{existing_folder, private_folder};
use super::error::LaunchError;
use super::login::{self, Login};
use super::model_catalog;
use super::sandbox::Agent;
use super::version::{self, Protocol};
use crate::codex::protocol_log::ProtocolLog;
use crate::codex::{app_server, proto};
use crate::config::Config;
use crate::process::orphans;
use crate::process::{ChildRegistry, Program};
use crate::turn::TurnError;

/// Time that `codex --version` and `codex debug models` may take; 0.3 s were seen on a cold start.
const PROBE_DEADLINE: Duration = Duration::from_secs(20);

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

/// A Codex that can be started, again and again. Dropping it removes the private folder.
#[derive(Debug)]
pub struct Launch {
    binary: PathBuf,
    version: String,
    protocol: Protocol,
    home: PathBuf,
    provider: Option<String>,
    environment: Vec<(OsString, OsString)>,
    work: PathBuf,
    agent: Agent,
    sandbox_works: bool,
    context_windows: BTreeMap<String, u64>,
    private: TempDir,
    roster: ChildRegistry,
    wiretap: ProtocolLog,
}

impl Launch {
    /// Looks at the binary and makes what it needs on disk.
    ///
    /// # Errors
    /// The binary or a folder cannot be used.
    pub async fn prepare(config: &Config) -> Result<Self, LaunchError> {
        let home = private_folder(&config.codex_home)?;
        Login::check_file(&home)?;
        let config_toml = ConfigToml::read(&home)?;
        if let Some(forced) = &config.force_provider {
            config_toml.check_provider(&home, forced)?;
        }
        let private = tempfile::Builder::new()
            .prefix(&orphans::folder_prefix())
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
            protocol: Protocol::AppServer,
            environment: environment(&home, &temporary, &config.env_passthrough),
            home,
            provider: config.force_provider.clone(),
            agent: Agent::new(
                config.sandbox_mode,
                agent_catalogue(private.path()),
                work.clone(),
            ),
            sandbox_works: false,
            context_windows: BTreeMap::new(),
            work,
            private,
            roster: ChildRegistry::default(),
            wiretap: ProtocolLog::default(),
        };
        let said = launch.ask_version().await?;
        (launch.version, launch.protocol) =
            version::decide(config.protocol, &config.codex_bin, &said)?;
        match launch.protocol {
            Protocol::AppServer => {
                launch.read_models(&config.codex_models()).await?;
                launch.sandbox_works = launch.probe_sandbox().await;
            }
            Protocol::Proto => {
                launch.check_confinement()?;
                tracing::warn!("codex speaks proto: turns of the agent profile are refused");
            }
        }
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
        let arguments = app_server::arguments(
            &self.catalogue_path(),
            databases.path(),
            self.provider_settings(),
        );
        Ok((self.program(arguments), databases))
    }

    /// Codex's protocol.
    pub fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// The context windows that the binary knows, in tokens, by the names of models; empty with `proto`.
    pub fn context_windows(&self) -> &BTreeMap<String, u64> {
        &self.context_windows
    }

    /// Lets `wiretap` hear what passes between us and its children.
    #[must_use]
    pub fn with_protocol_log(self, wiretap: ProtocolLog) -> Self {
        Self { wiretap, ..self }
    }

    pub(in crate::codex) fn wiretap(&self) -> &ProtocolLog {
        &self.wiretap
    }

    /// Where its children are entered while they live.
    pub fn roster(&self) -> &ChildRegistry {
        &self.roster
    }

    /// Codex's home, with the login.
    pub(in crate::codex) fn home(&self) -> &Path {
        &self.home
    }

    /// When the login was written last, by `codex login` or by Codex itself; `None` when there is none.
    pub(in crate::codex) fn login_written(&self) -> Option<SystemTime> {
        let file = std::fs::metadata(self.home.join(login::FILE));
        file.and_then(|file| file.modified()).ok()
    }

    /// The children's working directory.
    pub(in crate::codex) fn work(&self) -> &Path {
        &self.work
    }

    /// The folder that is removed when we end.
    pub(in crate::codex) fn private(&self) -> &Path {
        self.private.path()
    }

    /// The provider that the operator forces.
    pub(in crate::codex) fn provider(&self) -> Option<&str> {
        self.provider.as_deref()
    }

    /// What runs Codex with these arguments.
    pub(in crate::codex) fn program(&self, arguments: Vec<OsString>) -> Program {
        Program {
            path: self.binary.clone(),
            arguments,
            environment: self.environment.clone(),
            directory: self.work.clone(),
        }
    }

    /// Requests that failed before their first byte are tried again; streams are not, since a retry repeats the text.
    pub(in crate::codex) fn provider_settings(&self) -> Vec<(String, String)> {
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

    /// Whether turns of the `agent` profile are taken: the sandbox that was asked for works here.
    pub fn takes_agents(&self) -> bool {
        self.sandbox_works
    }

    /// How turns of the `agent` profile are kept.
    ///
    /// # Errors
    /// The sandbox that was asked for does not work on this machine.
    pub(in crate::codex) fn agent(&self) -> Result<&Agent, TurnError> {
        if self.sandbox_works {
            Ok(&self.agent)
        } else {
            Err(TurnError::NoSandbox)
        }
    }

    /// The first line of `--version`.
    async fn ask_version(&self) -> Result<String, LaunchError> {
        let output = self
            .output(&["--version"])
            .await
            .map_err(|error| LaunchError::NoBinary(self.binary.clone(), error))?;
        let said = String::from_utf8_lossy(&output.stdout);
        Ok(said.lines().next().unwrap_or_default().to_owned())
    }

    /// A child of `proto` may start nothing, so that what we start must be the program itself.
    fn check_confinement(&mut self) -> Result<(), LaunchError> {
        let version = self.version.clone();
        proto::confinement_is_possible()
            .map_err(|source| LaunchError::Unconfined { version, source })?;
        let search = std::env::var_os("PATH");
        self.binary = proto::native::program(&self.binary, search.as_deref())
            .map_err(|error| LaunchError::NoBinary(self.binary.clone(), error))?;
        Ok(())
    }

    /// Keeps what the binary tells of its models, and writes the catalogues that children are started with.
    async fn read_models(&mut self, models: &[String]) -> Result<(), LaunchError> {
        let failed = |error: &dyn std::fmt::Display| LaunchError::Models(error.to_string());
        let output = self
            .output(&["debug", "models", "--bundled"])
            .await
            .map_err(|error| failed(&error))?;
        if !output.status.success() {
            return Err(failed(&String::from_utf8_lossy(&output.stderr).trim()));
        }
        let bundled = serde_json::from_slice(&output.stdout).map_err(|error| failed(&error))?;
        self.context_windows = model_catalog::context_windows(&bundled);
        let complete = model_catalog::complete(bundled, models);
        let complete = complete.ok_or_else(|| failed(&"it lists no models"))?;
        write(&agent_catalogue(self.private.path()), &complete.to_string())?;
        let plain = model_catalog::plain(complete);
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

    /// Runs Codex with these arguments to its end.
    ///
    /// # Errors
    /// It cannot be started, or does not end in time.
    pub(in crate::codex) async fn output(&self, arguments: &[&str]) -> io::Result<Output> {
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

fn environment(home: &Path, temporary: &Path, passthrough: &[String]) -> Vec<(OsString, OsString)> {
    let named = ENVIRONMENT
        .into_iter()
        .chain(passthrough.iter().map(String::as_str));
    let mut environment: Vec<_> = named
        .filter_map(|name| Some((OsString::from(name), std::env::var_os(name)?)))
        .collect();
    environment.push(("CODEX_HOME".into(), home.into()));
    environment.push(("TMPDIR".into(), temporary.into()));
    environment.push((orphans::OWNER_ENV.into(), orphans::owner().into()));
    environment
}

fn agent_catalogue(private: &Path) -> PathBuf {
    private.join("agent-models.json")
}

fn write(path: &Path, text: &str) -> Result<(), LaunchError> {
    std::fs::write(path, text).map_err(|error| LaunchError::Folder(path.to_owned(), error))
}

/// `COMMAND -c key=value -c ...`, which is what follows the program's name.
pub(in crate::codex) fn setting_arguments(
    command: &str,
    settings: impl IntoIterator<Item = (String, String)>,
) -> Vec<OsString> {
    let settings = settings
        .into_iter()
        .flat_map(|(key, value)| ["-c".to_owned(), format!("{key}={value}")]);
    std::iter::once(command.to_owned())
        .chain(settings)
        .map(OsString::from)
        .collect()
}

/// A path as a TOML basic string; JSON's escapes are a subset of TOML's.
pub(in crate::codex) fn toml_string(path: &Path) -> String {
    Value::from(path.to_string_lossy()).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

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
