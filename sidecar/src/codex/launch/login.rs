//! Whether Codex has a credential, and of what kind.
//! `codex login status` of Codex 0.42 and 0.169, which reads `auth.json` and the whole of `config.toml`.

use std::path::Path;

use super::config_toml::{ConfigToml, is_absent};
use super::error::LaunchError;
use super::prepare::Launch;

/// The file in Codex's home that has it.
pub(in crate::codex) const FILE: &str = "auth.json";

/// How turns are paid for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// The provider asks for no login.
    NotNeeded,
    /// By a key.
    Key,
    /// By a ChatGPT plan, whose service was reported to take Codex's own instructions only.
    ChatGpt,
    /// Not at all.
    Missing,
    /// Codex cannot say, for this reason; it will not start either.
    Unknown(String),
}

/// What Codex writes before it says why it cannot read its configuration.
const UNREADABLE: &str = "Error loading configuration: ";

impl Login {
    /// Looks whether the file in `home` can be read, if there is one: `sudo codex login` leaves one that we cannot read,
    /// and Codex would only say that there is no login.
    ///
    /// # Errors
    /// It cannot.
    pub fn check_file(home: &Path) -> Result<(), LaunchError> {
        match std::fs::read(home.join(FILE)) {
            Err(error) if !is_absent(&error) => Err(LaunchError::Home(home.join(FILE), error)),
            _ => Ok(()),
        }
    }

    /// Asks Codex.
    pub(in crate::codex) async fn look(launch: &Launch) -> Self {
        let config = ConfigToml::read(launch.home()).unwrap_or_default();
        if !config.needs_login(launch.provider()) {
            return Self::NotNeeded;
        }
        match launch.output(&["login", "status"]).await {
            Ok(said) => {
                let said_all = [said.stdout, said.stderr].concat();
                Self::read(said.status.success(), &String::from_utf8_lossy(&said_all))
            }
            Err(error) => Self::Unknown(format!("`codex login status` cannot be asked: {error}")),
        }
    }

    fn read(success: bool, said: &str) -> Self {
        match said.split_once(UNREADABLE) {
            Some((_, reason)) => Self::Unknown(reason.lines().next().unwrap_or(reason).to_owned()),
            None if !success => Self::Missing,
            None if said.contains("ChatGPT") => Self::ChatGpt,
            None => Self::Key,
        }
    }

    /// Whether a child that starts now could ask a model.
    pub fn is_there(&self) -> bool {
        match self {
            Self::NotNeeded | Self::Key | Self::ChatGpt => true,
            Self::Missing | Self::Unknown(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_that_cannot_be_read_is_named() {
        let home = tempfile::tempdir().unwrap();
        assert!(
            Login::check_file(home.path()).is_ok(),
            "there is nothing yet"
        );
        std::fs::create_dir(home.path().join(FILE)).unwrap();
        let error = Login::check_file(home.path()).unwrap_err().to_string();
        assert!(
            error.contains("auth.json") && error.contains("CODEX_HOME"),
            "{error}"
        );
    }

    #[test]
    fn what_codex_says_of_its_login_is_understood() {
        let unknown = "config.toml:1:9: invalid type: integer `5`, expected a string";
        for (success, said, expected) in [
            (true, "Logged in using ChatGPT\n", Login::ChatGpt),
            (true, "Logged in using an API key - sk-a***z\n", Login::Key),
            (false, "WARNING: x\nNot logged in\n", Login::Missing),
            (
                false,
                "WARNING: x\nError loading configuration: config.toml:1:9: invalid type: \
                 integer `5`, expected a string\n",
                Login::Unknown(unknown.to_owned()),
            ),
        ] {
            assert_eq!(Login::read(success, said), expected, "{said}");
        }
    }
}
