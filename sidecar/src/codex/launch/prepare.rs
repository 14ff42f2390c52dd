//! Preparation of a launch: checks the binary, its login and its sandbox, and writes the files that children read.

use std::ffi::OsString;
use std::io;
use std::num::NonZeroU64;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use super::arguments::{HOME_VARIABLE, environment, provider_name, provider_settings};
use super::binary::CodexBinary;
use super::config_toml::ConfigToml;
use super::directories::{create_dir, create_private_dir};
use super::error::LaunchError;
use super::login::{self, Login};
use super::models::{self, ModelList, ModelSource};
use super::plain_home::{HomeContents, write_plain_home};
use super::sandbox::AgentSandbox;
use super::version::{self, Protocol, SelectedVersion};
use crate::catalogue::Catalogue;
use crate::codex::conversation::{ConversationSecret, Conversations};
use crate::codex::protocol_log::ProtocolLog;
use crate::codex::{app_server, proto, self_test};
use crate::config::{Config, Secret};
use crate::process::{ChildRegistry, OwnedFolder, ProcessLimits, Program, orphans};
use crate::store::SessionIds;
use crate::turn::{Profile, TurnError};

/// The name of the home in the folder of a child for chats.
const PLAIN_HOME: &str = "home";

/// The folder of an app-server child: its databases, which grow with each turn, and the home of a child for chats.
/// Dropping it removes the folder; the child must have exited by then.
#[derive(Debug)]
pub struct ChildFolder {
    folder: OwnedFolder,
    /// Whether the child has a home of its own.
    is_plain: bool,
}

impl ChildFolder {
    /// Returns the home of a child for chats.
    pub(in crate::codex) fn plain_home(&self) -> Option<PathBuf> {
        self.is_plain.then(|| self.folder.path().join(PLAIN_HOME))
    }
}

/// A Codex that is ready to be started any number of times. Dropping it removes the private folder.
#[derive(Debug)]
pub struct Launch {
    binary: CodexBinary,
    version: SelectedVersion,
    home: PathBuf,
    provider: Option<String>,
    /// `None` where the sandbox does not work, and with `proto`.
    agent: Option<AgentSandbox>,
    /// Maximum size of a file that an agent writes.
    agent_file_bytes: Option<u64>,
    models: ModelList,
    private: OwnedFolder,
    registry: ChildRegistry,
    protocol_log: ProtocolLog,
    conversations: Arc<Conversations>,
}

impl Launch {
    /// Checks the binary and creates the files that children need. The `sessions` are those of earlier processes.
    ///
    /// # Errors
    /// The binary, a folder or a file of the operator cannot be used.
    pub async fn prepare(config: &Config, sessions: SessionIds) -> Result<Self, LaunchError> {
        let home = create_private_dir(&config.codex_home)?;
        Login::check_file(&home)?;
        // The operator's files come before the binary: an invalid config.toml makes every probe fail, with a worse
        // message.
        let config_toml = ConfigToml::read(&home)?;
        if let Some(forced) = &config.force_provider {
            config_toml.check_provider(&home, forced)?;
        }
        let private = OwnedFolder::create_in(&std::env::temp_dir(), &orphans::folder_prefix())
            .map_err(|error| LaunchError::Folder(std::env::temp_dir(), error))?;
        let work_dir = match &config.workdir {
            Some(folder) => create_dir(folder)?,
            None => create_private_dir(&private.path().join("work"))?,
        };
        let temporary = create_private_dir(&private.path().join("tmp"))?;
        let mut binary = CodexBinary {
            path: config.codex_bin.clone(),
            environment: environment(&home, &temporary, &config.env_passthrough),
            work_dir,
            limits: ProcessLimits {
                data_bytes: config.limits.child_bytes.map(NonZeroU64::get),
                file_bytes: None,
            },
        };
        let version_line = binary.version_line().await?;
        let version = version::select_protocol(config.protocol, &config.codex_bin, &version_line)?;
        if version.protocol == Protocol::Proto {
            binary.path = native_program(&binary.path, &version.text)?;
        }
        let provider = provider_settings(config.force_provider.as_deref());
        let source = ModelSource {
            binary: &binary,
            protocol: version.protocol,
            home: &home,
            provider: &provider,
        };
        // The sandbox probe reads the catalogue of agents, so the catalogues are written first.
        let models = ModelList::read(config.models.clone(), source, private.path()).await?;
        let agent = match version.protocol {
            Protocol::AppServer => {
                let agent = AgentSandbox::new(config, &binary.work_dir, private.path(), &home)?;
                let agent = agent.with_token_caps(version.caps_tokens);
                working_sandbox(&binary, agent, private.path()).await
            }
            Protocol::Proto => {
                tracing::warn!(
                    reason = "codex proto has no sandbox",
                    "agent turns disabled"
                );
                None
            }
        };
        let secret = match version.protocol {
            Protocol::AppServer => conversation_secret(config, &home)?,
            Protocol::Proto => None,
        };
        let launch = Self {
            binary,
            version,
            home,
            provider: config.force_provider.clone(),
            agent,
            agent_file_bytes: config.limits.agents.folder_bytes.map(NonZeroU64::get),
            models,
            private,
            registry: ChildRegistry::default(),
            protocol_log: ProtocolLog::default(),
            conversations: Arc::new(Conversations::new(secret).kept_in(sessions)),
        };
        let contents = HomeContents::read(&launch.home);
        let child_mib = config.limits.child_bytes.map(|bytes| bytes.get() >> 20);
        tracing::info!(
            mib = child_mib,
            means = "RLIMIT_DATA",
            "codex child memory limited"
        );
        tracing::info!(
            unused_by_chats = contents.unused_by_chats(),
            used_by_agents = contents.used_by_agents(),
            "codex home read"
        );
        if !launch.is_tested() {
            launch.self_test(config).await?;
        }
        Ok(launch)
    }

    /// Makes the calls of a turn to a child of an untested version, so that a changed protocol ends the start with the
    /// name of the call, not each request with an error.
    async fn self_test(&self, config: &Config) -> Result<(), LaunchError> {
        let (major, minor, patch) = version::NEWEST_TESTED;
        let newest_tested = format!("{major}.{minor}.{patch}");
        let (program, _folder) = self
            .app_server(Profile::Chat)
            .map_err(|error| LaunchError::Folder(self.private.path().to_owned(), error))?;
        self_test::run(&program)
            .await
            .map_err(|source| LaunchError::SelfTest {
                path: config.codex_bin.clone(),
                version: self.version.text.clone(),
                newest_tested: newest_tested.clone(),
                source,
            })?;
        tracing::warn!(
            codex = self.version(),
            newest_tested,
            "untested codex version accepted after a self-test"
        );
        Ok(())
    }

    /// Returns the binary's own version, such as `0.171.0`.
    pub fn version(&self) -> &str {
        &self.version.text
    }

    /// Returns the protocol that children speak.
    pub fn protocol(&self) -> Protocol {
        self.version.protocol
    }

    /// Whether this version is one that this release was tested with; any other one has passed the self-test.
    pub fn is_tested(&self) -> bool {
        self.version.is_tested
    }

    /// Returns the model ids for a request, with the models that Codex reported last.
    pub fn catalogue(&self) -> Arc<Catalogue> {
        self.models.catalogue()
    }

    /// Returns a number that changes when running children have read an outdated list of models.
    pub(in crate::codex) fn models_generation(&self) -> u64 {
        self.models.generation()
    }

    /// Asks Codex for its models again.
    ///
    /// # Errors
    /// Codex prints no list, or `config.toml` is invalid; the earlier list stays in effect.
    pub(in crate::codex) async fn refresh_models(&self) -> Result<(), LaunchError> {
        let provider = self.provider_settings();
        let source = ModelSource {
            binary: &self.binary,
            protocol: self.protocol(),
            home: &self.home,
            provider: &provider,
        };
        self.models.refresh(source).await
    }

    /// Whether commands of agents cannot read the sidecar's files and those of other turns.
    pub(crate) fn hides_files_from_agents(&self) -> bool {
        self.agent.as_ref().is_some_and(AgentSandbox::hides_files)
    }

    /// Whether turns of the `agent` profile are accepted, which needs a sandbox that works on this machine.
    pub fn accepts_agent_turns(&self) -> bool {
        self.agent.is_some()
    }

    /// Sets the log of the protocol lines between the sidecar and its children.
    #[must_use]
    pub fn with_protocol_log(self, protocol_log: ProtocolLog) -> Self {
        Self {
            protocol_log,
            ..self
        }
    }

    /// Returns the program that runs `codex app-server` for turns of `profile`, and the folder of its own.
    ///
    /// # Errors
    /// The folder cannot be created, or the operator's `config.toml` is not valid any more.
    pub fn app_server(&self, profile: Profile) -> io::Result<(Program, ChildFolder)> {
        let folder = OwnedFolder::create_in(self.private.path(), "child-")?;
        let arguments = app_server::arguments(
            &models::plain_path(self.private.path()),
            folder.path(),
            self.provider_settings(),
        );
        let mut program = self.program(arguments);
        match profile {
            Profile::Chat => {
                let home = folder.path().join(PLAIN_HOME);
                std::fs::create_dir(&home)?;
                self.write_plain_home(&home)?;
                program
                    .environment
                    .retain(|(name, _)| name != HOME_VARIABLE);
                program
                    .environment
                    .push((HOME_VARIABLE.into(), home.into()));
            }
            // An agent uses the operator's home.
            Profile::Agent => program.limits.file_bytes = self.agent_file_bytes,
        }
        let is_plain = profile == Profile::Chat;
        Ok((program, ChildFolder { folder, is_plain }))
    }

    /// Writes the home of a child that serves chats into `folder`.
    ///
    /// # Errors
    /// The folder is not writable, or the operator's `config.toml` is not valid any more.
    pub(in crate::codex) fn write_plain_home(&self, folder: &Path) -> io::Result<()> {
        write_plain_home(folder, &self.home, self.provider.as_deref())
    }

    /// Returns what the children share about conversations.
    pub(in crate::codex) fn conversations(&self) -> &Arc<Conversations> {
        &self.conversations
    }

    /// Returns the name of the provider in the configuration of the children.
    pub(in crate::codex) fn provider_name(&self) -> String {
        provider_name(self.provider.as_deref()).to_owned()
    }

    /// Returns the registry of the running children.
    pub fn registry(&self) -> &ChildRegistry {
        &self.registry
    }

    pub(in crate::codex) fn protocol_log(&self) -> &ProtocolLog {
        &self.protocol_log
    }

    /// Returns the operator's home, which contains the login.
    pub(in crate::codex) fn home(&self) -> &Path {
        &self.home
    }

    /// Returns the time at which `codex login` or Codex itself last wrote the login; `None` without a login.
    pub(in crate::codex) fn login_written(&self) -> Option<SystemTime> {
        std::fs::metadata(self.home.join(login::AUTH_FILE))
            .and_then(|file| file.modified())
            .ok()
    }

    /// Returns the login as far as it is known without Codex.
    pub(in crate::codex) fn login_before_check(&self) -> Login {
        let config_toml = ConfigToml::read(&self.home).unwrap_or_default();
        if config_toml.needs_login(self.provider.as_deref()) {
            Login::Unchecked
        } else {
            Login::NotNeeded
        }
    }

    /// Asks Codex for its login.
    pub(in crate::codex) async fn login_status(&self) -> Login {
        if self.login_before_check() == Login::NotNeeded {
            return Login::NotNeeded;
        }
        match self.binary.output(&["login", "status"]).await {
            Ok(output) => {
                let success = output.status.success();
                let text = [output.stdout, output.stderr].concat();
                Login::parse(success, &String::from_utf8_lossy(&text))
            }
            Err(error) => Login::Unknown(format!("`codex login status` failed: {error}")),
        }
    }

    /// Returns the working directory of the children.
    pub(in crate::codex) fn work_dir(&self) -> &Path {
        &self.binary.work_dir
    }

    /// Returns the folder that is removed when the sidecar exits.
    pub(in crate::codex) fn private_dir(&self) -> &Path {
        self.private.path()
    }

    /// Returns the program that runs Codex with `arguments`.
    pub(in crate::codex) fn program(&self, arguments: Vec<OsString>) -> Program {
        self.binary.program(arguments)
    }

    /// Returns the settings of the provider that children use.
    pub(in crate::codex) fn provider_settings(&self) -> Vec<(String, String)> {
        provider_settings(self.provider.as_deref())
    }

    /// Returns the sandbox of agent turns.
    ///
    /// # Errors
    /// The configured sandbox does not work on this machine.
    pub(in crate::codex) fn agent(&self) -> Result<&AgentSandbox, TurnError> {
        self.agent.as_ref().ok_or(TurnError::SandboxUnavailable)
    }
}

/// Returns the secret of the ids of conversations; `None` if threads are not rebuilt.
fn conversation_secret(
    config: &Config,
    home: &Path,
) -> Result<Option<ConversationSecret>, LaunchError> {
    if !config.conversation_ids {
        return Ok(None);
    }
    let operators = config.conversation_secret.as_ref();
    ConversationSecret::open(operators.map(|Secret(text)| text.as_str()), home)
        .map(Some)
        .map_err(|error| LaunchError::Folder(home.to_owned(), error))
}

/// Returns the native program to run for `codex proto`. A confined child may start no other program, so a launcher
/// script cannot be run.
fn native_program(binary: &Path, version: &str) -> Result<PathBuf, LaunchError> {
    proto::confinement_is_supported().map_err(|source| LaunchError::NoLandlock {
        version: version.to_owned(),
        source,
    })?;
    let search = std::env::var_os("PATH");
    proto::native::resolve(binary, search.as_deref())
        .map_err(|error| LaunchError::NoBinary(binary.to_owned(), error))
}

/// Returns the sandbox as far as it works on this machine: with hidden files, without, or not at all.
async fn working_sandbox(
    binary: &CodexBinary,
    agent: AgentSandbox,
    folder: &Path,
) -> Option<AgentSandbox> {
    if probe_sandbox(binary, &agent, folder).await {
        return Some(agent);
    }
    let agent = agent.without_hidden_files();
    if probe_sandbox(binary, &agent, folder).await {
        tracing::warn!("agents can read the sidecar's files");
        return Some(agent);
    }
    tracing::warn!(reason = "the sandbox probe failed", "agent turns disabled");
    None
}

/// Whether the sandbox confines a command on this machine.
async fn probe_sandbox(binary: &CodexBinary, agent: &AgentSandbox, folder: &Path) -> bool {
    let forbidden = folder.join("escaped");
    // Any file in a folder that is hidden, as the homes of children are.
    let hidden = folder.join("child-probe");
    let secret = hidden.join("secret");
    let written = std::fs::create_dir_all(&hidden).and_then(|()| std::fs::write(&secret, "read"));
    let Some(command) = agent.probe_command(&forbidden, &secret) else {
        tracing::warn!(
            sandbox = agent.mode(),
            "agents run with all permissions of this user"
        );
        return true;
    };
    let arguments: Vec<&str> = command.iter().map(String::as_str).collect();
    // All conditions: the shell ran in the sandbox, its write outside of the sandbox failed, and so did its read.
    let works = binary
        .output(&arguments)
        .await
        .is_ok_and(|output| output.stdout == b"ok\n")
        && !forbidden.exists();
    std::fs::remove_dir_all(hidden).ok(); // Removed with the folder otherwise.
    works && written.is_ok()
}
