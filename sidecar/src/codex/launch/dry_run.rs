//! A dry run of a launch for `--check`: the probes of a start, without a trace in the operator's home.
//! Codex 0.169 writes to its home even for `--version`, so the probes run in a temporary home that links the operator's
//! `auth.json` and `config.toml`.

use std::ffi::OsStr;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use super::config_toml::{self, ConfigToml};
use super::error::LaunchError;
use super::login::{self, Login};
use super::prepare::Launch;
use super::version::Protocol;
use crate::codex::proto;
use crate::config::Config;
use crate::process::{OwnedFolder, orphans};
use crate::store::SessionIds;
use crate::turn::Profile;

/// The findings of a dry run. Dropping it removes the temporary home.
#[derive(Debug)]
pub struct DryRun {
    launch: Launch,
    login: Login,
    temporary_home: OwnedFolder,
    operators_home: PathBuf,
}

impl DryRun {
    /// Prepares a launch as [`Launch::prepare`] does, in a temporary home.
    ///
    /// # Errors
    /// Those of `Launch::prepare`, except for errors of the operator's own folders and files, which have their own
    /// checks.
    pub async fn run(config: &Config) -> Result<Self, LaunchError> {
        let home = OwnedFolder::create_in(&std::env::temp_dir(), &orphans::folder_prefix())
            .map_err(|error| LaunchError::Folder(std::env::temp_dir(), error))?;
        let operators_home = std::path::absolute(&config.codex_home)
            .map_err(|error| LaunchError::Folder(config.codex_home.clone(), error))?;
        // A missing provider, an invalid config.toml and a missing folder have findings of their own: left out here,
        // they do not hide the findings about Codex.
        let usable = ConfigToml::read(&operators_home).ok();
        let forced = config.force_provider.clone().filter(|name| {
            let known = |toml: &ConfigToml| toml.check_provider(&operators_home, name).is_ok();
            usable.as_ref().is_some_and(known)
        });
        link(&operators_home, home.path(), usable.is_some())
            .map_err(|error| LaunchError::Folder(home.path().to_owned(), error))?;
        let config = Config {
            codex_home: home.path().to_owned(),
            force_provider: forced,
            workdir: config.workdir.clone().filter(|folder| folder.is_dir()),
            ..config.clone()
        };
        let launch = Launch::prepare(&config, SessionIds::default()).await?;
        let login = launch.login_status().await;
        Ok(Self {
            launch,
            login,
            temporary_home: home,
            operators_home,
        })
    }

    /// Returns the launch that was prepared.
    pub fn launch(&self) -> &Launch {
        &self.launch
    }

    /// Returns the login that Codex reported.
    pub fn login(&self) -> &Login {
        &self.login
    }

    /// Returns a child's command line, and the names of its environment variables.
    ///
    /// # Errors
    /// A temporary folder cannot be created.
    pub fn child(&self) -> io::Result<(Vec<String>, Vec<String>)> {
        let program = match self.launch.protocol() {
            Protocol::AppServer => self.launch.app_server(Profile::Chat)?.0,
            Protocol::Proto => {
                let instructions = self.launch.private_dir().join("instructions.md");
                let provider = self.launch.provider_settings();
                self.launch
                    .program(proto::arguments(provider, Some(&instructions)))
            }
        };
        let path = program.path.into_os_string();
        let words = std::iter::once(path).chain(program.arguments);
        let names = program.environment.into_iter().map(|(name, _)| name);
        Ok((
            words.map(|word| self.display_path(&word)).collect(),
            names.map(|name| self.display_path(&name)).collect(),
        ))
    }

    /// Returns `text` with the paths that a real launch would use, since those of the dry run are removed with it.
    pub fn display_path(&self, text: impl AsRef<OsStr>) -> String {
        text.as_ref()
            .to_string_lossy()
            .replace(
                &*self.temporary_home.path().to_string_lossy(),
                &self.operators_home.to_string_lossy(),
            )
            .replace(&*self.launch.private_dir().to_string_lossy(), "$PRIVATE")
    }
}

/// Links the operator's `auth.json` into the temporary home, and `config.toml` if it is `usable`; skips missing files.
fn link(operators: &Path, temporary: &Path, usable: bool) -> io::Result<()> {
    let config = usable.then_some(config_toml::CONFIG_FILE);
    for name in [Some(login::AUTH_FILE), config].into_iter().flatten() {
        if std::fs::read(operators.join(name)).is_ok() {
            symlink(operators.join(name), temporary.join(name))?;
        }
    }
    Ok(())
}
