//! What a start would find out of Codex, without a trace in its home: the probes run in a stand-in that is then removed.
//! The stand-in links what is the operator's, `auth.json` and `config.toml`; Codex 0.169 writes to a home that it is
//! only asked for its version in.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::config_toml::{self, ConfigToml};
use super::error::LaunchError;
use super::login::{self, Login};
use super::prepare::Launch;
use super::version::Protocol;
use crate::codex::proto;
use crate::config::Config;
use crate::process::orphans;

/// What was found out; dropping it removes the stand-in.
#[derive(Debug)]
pub struct DryRun {
    launch: Launch,
    login: Login,
    /// The stand-in and what it stands for.
    homes: (TempDir, PathBuf),
}

impl DryRun {
    /// Does what [`Launch::prepare`] does.
    ///
    /// # Errors
    /// Those of `Launch::prepare` that are not about the operator's own folders and files.
    pub async fn run(config: &Config) -> Result<Self, LaunchError> {
        let home = tempfile::Builder::new()
            .prefix(&orphans::folder_prefix())
            .tempdir()
            .map_err(|error| LaunchError::Folder(std::env::temp_dir(), error))?;
        let operators = std::path::absolute(&config.codex_home)
            .map_err(|error| LaunchError::Folder(config.codex_home.clone(), error))?;
        let usable = ConfigToml::read(&operators).ok();
        let forced = config.force_provider.clone().filter(|name| {
            let known = |toml: &ConfigToml| toml.check_provider(&operators, name).is_ok();
            usable.as_ref().is_some_and(known)
        });
        link(&operators, home.path(), usable.is_some())
            .map_err(|error| LaunchError::Folder(home.path().to_owned(), error))?;
        let stand_in = Config {
            codex_home: home.path().to_owned(),
            force_provider: forced,
            workdir: config.workdir.clone().filter(|folder| folder.is_dir()),
            ..config.clone()
        };
        let launch = Launch::prepare(&stand_in).await?;
        let login = Login::look(&launch).await;
        Ok(Self {
            launch,
            login,
            homes: (home, operators),
        })
    }

    /// The Codex that was found.
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Whether it has a credential.
    pub fn login(&self) -> &Login {
        &self.login
    }

    /// A child's command line, and the names of the variables that it gets.
    ///
    /// # Errors
    /// A temporary folder cannot be made.
    pub fn child(&self) -> io::Result<(Vec<String>, Vec<String>)> {
        let program = match self.launch.protocol() {
            Protocol::AppServer => self.launch.app_server()?.0,
            Protocol::Proto => {
                let instructions = self.launch.private().join("instructions.md");
                let provider = self.launch.provider_settings();
                self.launch
                    .program(proto::arguments(provider, Some(&instructions)))
            }
        };
        let path = program.path.into_os_string();
        let words = std::iter::once(path).chain(program.arguments);
        let names = program.environment.into_iter().map(|(name, _)| name);
        Ok((
            words.map(|word| self.as_started(&word)).collect(),
            names.map(|name| self.as_started(&name)).collect(),
        ))
    }

    /// Names places as a start would: this one's own are gone when it is read.
    pub fn as_started(&self, text: impl AsRef<OsStr>) -> String {
        let (stand_in, operators) = &self.homes;
        text.as_ref()
            .to_string_lossy()
            .replace(
                &*stand_in.path().to_string_lossy(),
                &operators.to_string_lossy(),
            )
            .replace(&*self.launch.private().to_string_lossy(), "$PRIVATE")
    }
}

/// Links the operator's files that are there, and `config.toml` if it is `usable`.
fn link(operators: &Path, stand_in: &Path, usable: bool) -> io::Result<()> {
    let config = usable.then_some(config_toml::NAME);
    for name in [Some(login::FILE), config].into_iter().flatten() {
        if std::fs::read(operators.join(name)).is_ok() {
            symlink(operators.join(name), stand_in.join(name))?;
        }
    }
    Ok(())
}
