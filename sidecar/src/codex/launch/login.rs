//! The login of Codex: whether there is one, and of which kind.
//! `codex login status` of Codex 0.42 and 0.169 reads `auth.json` and the whole of `config.toml`.

use std::path::Path;

use super::config_toml::is_absent;
use super::error::LaunchError;

/// The file in Codex's home that contains the login.
pub(in crate::codex) const AUTH_FILE: &str = "auth.json";

/// The prefix of Codex's message about a `config.toml` that it cannot read.
const UNREADABLE_CONFIG: &str = "Error loading configuration: ";

/// The prefix of Codex's message about a credential that it cannot use, such as a revoked or malformed access token.
const UNUSABLE_CREDENTIAL: &str = "Error checking login status: ";

/// Parts of Codex's messages about the credentials of a workspace: a person's or a service account's token.
const WORKSPACE_CREDENTIALS: [&str; 2] = ["access token", "workload identity"];

/// The credential that turns are billed to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    /// Codex was not asked yet.
    Unchecked,
    /// The provider does not use the login.
    NotNeeded,
    /// An API key.
    Key,
    /// An access token of a ChatGPT workspace (`CODEX_ACCESS_TOKEN`).
    AccessToken,
    /// A ChatGPT plan. Its service was reported to accept Codex's own instructions only.
    ChatGpt,
    /// No login.
    Missing,
    /// Codex has a credential that it cannot use, for this reason.
    Rejected(String),
    /// Codex cannot report its login, for this reason. A child would not start either.
    Unknown(String),
}

/// Advice for a ChatGPT login that others can use, after OpenAI's terms of use of 1 January 2026.
pub const PERSONAL_LOGIN: &str = "a ChatGPT login is for its owner alone, and OpenAI's terms forbid making the account available to others; for several people use an API key (`codex login --with-api-key`) or CODEX_ACCESS_TOKEN";

impl Login {
    /// Returns the name of the kind, which says nothing about the credential itself.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::NotNeeded => "none_needed",
            Self::Key => "api_key",
            Self::AccessToken => "access_token",
            Self::ChatGpt => "chatgpt",
            Self::Missing => "missing",
            Self::Unchecked | Self::Rejected(_) | Self::Unknown(_) => "unknown",
        }
    }

    /// Checks that the login file in `home` can be read, if it exists. `sudo codex login` leaves a file that belongs to
    /// root, about which Codex would only report a missing login.
    ///
    /// # Errors
    /// The file exists and cannot be read.
    pub fn check_file(home: &Path) -> Result<(), LaunchError> {
        match std::fs::read(home.join(AUTH_FILE)) {
            Err(error) if !is_absent(&error) => {
                Err(LaunchError::HomeFile(home.join(AUTH_FILE), error))
            }
            _ => Ok(()),
        }
    }

    /// Parses the output of `codex login status` and whether its exit status was 0.
    pub(super) fn parse(success: bool, output: &str) -> Self {
        let reason_after = |prefix| {
            let (_, reason) = output.split_once(prefix)?;
            Some(reason.lines().next().unwrap_or(reason).to_owned())
        };
        let is_workspace = || {
            WORKSPACE_CREDENTIALS
                .iter()
                .any(|part| output.contains(part))
        };
        // Before the exit status: Codex also fails when it cannot read its configuration.
        if let Some(reason) = reason_after(UNREADABLE_CONFIG) {
            Self::Unknown(reason)
        } else if let Some(reason) = reason_after(UNUSABLE_CREDENTIAL) {
            Self::Rejected(reason)
        } else if !success {
            Self::Missing
        } else if output.contains("ChatGPT") {
            Self::ChatGpt
        } else if is_workspace() {
            Self::AccessToken
        } else {
            Self::Key
        }
    }

    /// Whether a child that starts now can authenticate to the provider.
    pub fn is_usable(&self) -> bool {
        match self {
            Self::NotNeeded | Self::Key | Self::AccessToken | Self::ChatGpt => true,
            Self::Unchecked | Self::Missing | Self::Rejected(_) | Self::Unknown(_) => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unreadable_login_file_is_named() {
        let home = tempfile::tempdir().unwrap();
        assert!(Login::check_file(home.path()).is_ok(), "no file yet");
        std::fs::create_dir(home.path().join(AUTH_FILE)).unwrap();
        let error = Login::check_file(home.path()).unwrap_err().to_string();
        assert!(
            error.contains("auth.json") && error.contains("CODEX_HOME"),
            "{error}"
        );
    }

    #[test]
    fn login_status_output_is_parsed() {
        let unknown = "config.toml:1:9: invalid type: integer `5`, expected a string";
        for (success, output, expected) in [
            (true, "Logged in using ChatGPT\n", Login::ChatGpt),
            (true, "Logged in using an API key - sk-a***z\n", Login::Key),
            (
                true,
                "Logged in using personal access token\n",
                Login::AccessToken,
            ),
            (true, "Logged in using access token\n", Login::AccessToken),
            (
                true,
                "Logged in using workload identity\n",
                Login::AccessToken,
            ),
            (false, "WARNING: x\nNot logged in\n", Login::Missing),
            (
                false,
                "WARNING: x\nError checking login status: failed to decode agent identity JWT\n",
                Login::Rejected("failed to decode agent identity JWT".to_owned()),
            ),
            (
                false,
                "WARNING: x\nError loading configuration: config.toml:1:9: invalid type: \
                 integer `5`, expected a string\n",
                Login::Unknown(unknown.to_owned()),
            ),
        ] {
            assert_eq!(Login::parse(success, output), expected, "{output}");
        }
    }
}
