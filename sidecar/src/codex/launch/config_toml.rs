//! The operator's `config.toml` in Codex's home, as far as it decides whether a child can start, and with which login.
//! Codex 0.42 and 0.169 end at once when it is no TOML, or when a provider that we set retries for has no `name`.

use std::collections::HashMap;
use std::io;
use std::path::Path;

use serde::Deserialize;

use super::error::LaunchError;

/// Its name in the home.
pub(in crate::codex) const NAME: &str = "config.toml";

/// What we read of it.
#[derive(Debug, Default, Deserialize)]
pub struct ConfigToml {
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
    /// Reads that of `home`; one that is not there is empty.
    ///
    /// # Errors
    /// It cannot be read, or is no TOML.
    pub fn read(home: &Path) -> Result<Self, LaunchError> {
        let text = match std::fs::read_to_string(home.join(NAME)) {
            Ok(text) => text,
            Err(error) if is_absent(&error) => String::new(),
            Err(error) => return Err(LaunchError::Home(home.join(NAME), error)),
        };
        toml::from_str(&text).map_err(|error| {
            // Its `Display` repeats the line, in which there may be a key.
            let before = error.span().and_then(|span| text.get(..span.start));
            LaunchError::ConfigToml {
                path: home.join(NAME),
                line: before.unwrap_or_default().matches('\n').count() + 1,
                problem: error.message().to_owned(),
            }
        })
    }

    /// Whether the provider that was forced can be used.
    ///
    /// # Errors
    /// It is not there, or without what Codex asks of one.
    pub fn check_provider(&self, home: &Path, forced: &str) -> Result<(), LaunchError> {
        match self.model_providers.get(forced) {
            Some(provider) if !provider.name.is_empty() => Ok(()),
            _ => Err(LaunchError::Provider {
                name: forced.to_owned(),
                path: home.join(NAME),
            }),
        }
    }

    /// Whether the provider that was forced, or ours, takes the login.
    pub(in crate::codex) fn needs_login(&self, forced: Option<&str>) -> bool {
        let provider = forced.and_then(|name| self.model_providers.get(name));
        provider.is_none_or(|provider| provider.requires_openai_auth)
    }
}

/// Whether there is no such file; a home that is no folder is somebody else's to report.
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
        std::fs::write(home.path().join(NAME), config).unwrap();
        home
    }

    #[test]
    fn a_provider_of_the_operators_says_itself_whether_it_takes_the_login() {
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
    fn a_provider_that_codex_would_end_over_is_named() {
        let home = home("[model_providers.nameless]\nbase_url = \"http://127.0.0.1:1\"\n");
        let config = ConfigToml::read(home.path()).unwrap();
        for forced in ["nameless", "missing", "openai"] {
            let error = config.check_provider(home.path(), forced).unwrap_err();
            let expected = format!("[model_providers.{forced}]");
            assert!(error.to_string().contains(&expected), "{error}");
        }
    }

    #[test]
    fn what_is_no_toml_is_named_by_its_line_and_not_repeated() {
        let home = home("model = \"x\"\nexperimental_bearer_token = sk-secret\n");
        let error = ConfigToml::read(home.path()).unwrap_err().to_string();
        assert!(error.contains("config.toml, line 2"), "{error}");
        assert!(!error.contains("secret"), "{error}");
        assert!(ConfigToml::read(Path::new("/nowhere")).is_ok());
    }
}
