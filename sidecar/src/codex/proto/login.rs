//! Whether Codex has a credential, and of what kind.
//! `codex login status` of Codex 0.42, and `requires_openai_auth` of a provider in `config.toml`.

use std::path::Path;

use serde::Deserialize;

use crate::codex::launch::Launch;

/// How turns are paid for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Login {
    /// By a key, or the provider asks for none.
    Open,
    /// By a ChatGPT plan, whose service was reported to take Codex's own instructions only.
    ChatGpt,
    /// Not at all.
    Missing,
}

impl Login {
    /// Asks Codex.
    pub(super) async fn look(launch: &Launch) -> Self {
        if !needs_login(launch.home(), launch.provider()) {
            return Self::Open;
        }
        match launch.output(&["login", "status"]).await {
            Ok(said) if !said.status.success() => Self::Missing,
            Ok(said) if mentions_chat_gpt(&said.stdout) || mentions_chat_gpt(&said.stderr) => {
                Self::ChatGpt
            }
            Ok(_) => Self::Open,
            Err(error) => {
                tracing::warn!(%error, "`codex login status` cannot be asked");
                Self::Missing
            }
        }
    }
}

fn mentions_chat_gpt(said: &[u8]) -> bool {
    String::from_utf8_lossy(said).contains("ChatGPT")
}

#[derive(Deserialize, Default)]
struct ConfigToml {
    #[serde(default)]
    model_providers: std::collections::HashMap<String, Provider>,
}

#[derive(Deserialize)]
struct Provider {
    #[serde(default)]
    requires_openai_auth: bool,
}

/// Whether the provider that was forced, or ours, takes the login. One that is not defined is Codex's own; of those,
/// `openai` does.
fn needs_login(home: &Path, forced: Option<&str>) -> bool {
    let Some(name) = forced else {
        return true;
    };
    let config = std::fs::read_to_string(home.join("config.toml")).unwrap_or_default();
    let config: ConfigToml = toml::from_str(&config).unwrap_or_default();
    match config.model_providers.get(name) {
        Some(provider) => provider.requires_openai_auth,
        None => name == "openai",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_of_the_operators_says_itself_whether_it_takes_the_login() {
        let home = tempfile::tempdir().unwrap();
        let config = "[model_providers.local]\nname = \"x\"\nrequest_max_retries = 1\n\
                      [model_providers.plan]\nrequires_openai_auth = true\n";
        std::fs::write(home.path().join("config.toml"), config).unwrap();
        for (forced, expected) in [
            (None, true),
            (Some("local"), false),
            (Some("plan"), true),
            (Some("openai"), true),
            (Some("oss"), false),
        ] {
            assert_eq!(needs_login(home.path(), forced), expected, "{forced:?}");
        }
    }
}
