//! The operator's `config.toml` in Codex's home, as far as it decides whether a child can start, and with which login.
//! Codex 0.42 and 0.169 exit at once when the file is not valid TOML, or when a provider with retry settings, which the
//! sidecar adds, has no `name`.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use serde::Deserialize;
use serde::de::DeserializeOwned;

use super::error::LaunchError;

/// Name of the file in Codex's home.
pub(in crate::codex) const CONFIG_FILE: &str = "config.toml";

/// The tables of `config.toml` that the sidecar reads.
#[derive(Debug, Default, Deserialize)]
pub struct ConfigToml {
    /// The operator's choice of the model.
    pub(super) model: Option<String>,
    #[serde(default)]
    model_providers: HashMap<String, Provider>,
}

#[derive(Debug, Deserialize)]
struct Provider {
    #[serde(default)]
    name: String,
    #[serde(default)]
    requires_openai_auth: bool,
}

impl ConfigToml {
    /// Reads the file in `home`; a missing file is read as an empty one.
    ///
    /// # Errors
    /// The file cannot be read, or is not valid TOML.
    pub fn read(home: &Path) -> Result<Self, LaunchError> {
        read_config(home)
    }

    /// Checks that Codex can use the provider `forced`.
    ///
    /// # Errors
    /// The provider is not defined, or has no `name`.
    pub fn check_provider(&self, home: &Path, forced: &str) -> Result<(), LaunchError> {
        match self.model_providers.get(forced) {
            Some(provider) if !provider.name.is_empty() => Ok(()),
            _ => Err(LaunchError::Provider {
                name: forced.to_owned(),
                path: home.join(CONFIG_FILE),
            }),
        }
    }

    /// Whether the provider `forced`, or the sidecar's own, uses Codex's login.
    pub(in crate::codex) fn needs_login(&self, forced: Option<&str>) -> bool {
        let provider = forced.and_then(|name| self.model_providers.get(name));
        provider.is_none_or(|provider| provider.requires_openai_auth)
    }
}

/// Reads the file in `home` as a `T`; a missing file is read as an empty one.
///
/// # Errors
/// The file cannot be read, or is not valid TOML.
pub(super) fn read_config<T: DeserializeOwned>(home: &Path) -> Result<T, LaunchError> {
    let text = match std::fs::read_to_string(home.join(CONFIG_FILE)) {
        Ok(text) => text,
        Err(error) if is_absent(&error) => String::new(),
        Err(error) => return Err(LaunchError::HomeFile(home.join(CONFIG_FILE), error)),
    };
    toml::from_str(&text).map_err(|error| {
        // Not the error's `Display`: it quotes the line, which may contain a key.
        let before = error.span().and_then(|span| text.get(..span.start));
        LaunchError::ConfigToml {
            path: home.join(CONFIG_FILE),
            line: before.unwrap_or_default().matches('\n').count() + 1,
            problem: error.message().to_owned(),
        }
    })
}

/// Whether `error` means that the file does not exist. A home that is not a folder is reported by another check.
pub(in crate::codex) fn is_absent(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn home(config: &str) -> tempfile::TempDir {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join(CONFIG_FILE), config).unwrap();
        home
    }

    #[test]
    fn forced_provider_needs_the_login_only_with_requires_openai_auth() {
        let home = home(
            "[model_providers.local]\nname = \"x\"\nrequest_max_retries = 1\n\
             [model_providers.plan]\nname = \"y\"\nrequires_openai_auth = true\n",
        );
        let config = ConfigToml::read(home.path()).unwrap();
        for (forced, expected) in [(None, true), (Some("local"), false), (Some("plan"), true)] {
            assert_eq!(config.needs_login(forced), expected, "{forced:?}");
        }
    }

    #[test]
    fn provider_without_a_name_is_rejected_by_name() {
        let home = home("[model_providers.nameless]\nbase_url = \"http://127.0.0.1:1\"\n");
        let config = ConfigToml::read(home.path()).unwrap();
        for forced in ["nameless", "missing", "openai"] {
            let error = config.check_provider(home.path(), forced).unwrap_err();
            let expected = format!("[model_providers.{forced}]");
            assert!(error.to_string().contains(&expected), "{error}");
        }
    }

    #[test]
    fn invalid_toml_is_reported_by_line_without_its_text() {
        let home = home("model = \"x\"\nexperimental_bearer_token = sk-secret\n");
        let error = ConfigToml::read(home.path()).unwrap_err().to_string();
        assert!(error.contains("config.toml, line 2"), "{error}");
        assert!(!error.contains("secret"), "{error}");
        assert!(ConfigToml::read(Path::new("/nowhere")).is_ok());
    }
}
