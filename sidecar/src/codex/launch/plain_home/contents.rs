//! The contents of the operator's home beside login, provider and model, which no chat uses.

use std::fs;
use std::path::Path;

use toml::Table;

use super::reduced_config::{KEPT_KEYS, PROVIDERS};
use crate::codex::launch::config_toml::read_config;

/// The key of the programs that Codex starts as tools.
const MCP_SERVERS: &str = "mcp_servers";

/// The key of the program that Codex runs after each turn.
const NOTIFY: &str = "notify";

/// Keys of `config.toml` that extend Codex, with names of their own in the report.
const EXTENSION_KEYS: [&str; 3] = ["hooks", "memories", "plugins"];

/// Files of the home that extend the prompt or run programs.
const EXTENSION_FILES: [&str; 3] = ["AGENTS.md", "AGENTS.override.md", "hooks.json"];

/// Folders of the home with extensions. Codex itself creates hidden entries in some of them.
const EXTENSION_FOLDERS: [&str; 5] = ["memories", "plugins", "prompts", "rules", "skills"];

/// The extensions that reach an agent: Codex 0.169 and 0.171 use the others neither with the features that the sidecar
/// turns off, nor in an app-server.
const FOR_AGENTS: [&str; 6] = [
    "AGENTS.md",
    "AGENTS.override.md",
    MCP_SERVERS,
    NOTIFY,
    "rules",
    "settings",
];

/// An extension or setting of the home.
#[derive(Debug, Clone, PartialEq, Eq)]
struct HomeContent {
    /// Name of the file, folder or key; `settings` for the keys without a report of their own.
    name: &'static str,
    /// Names below it, such as those of the MCP servers.
    parts: Vec<String>,
}

/// The contents of the operator's home beside login, provider and model.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HomeContents(Vec<HomeContent>);

impl HomeContents {
    /// Reads the home. An unreadable `config.toml`, which has an error of its own, counts as empty.
    pub fn read(home: &Path) -> Self {
        let config: Table = read_config(home).unwrap_or_default();
        let lists = [
            (MCP_SERVERS, server_names(&config)),
            ("settings", other_keys(&config)),
        ];
        let mut names: Vec<_> = EXTENSION_KEYS
            .into_iter()
            .chain([NOTIFY])
            .filter(|key| config.contains_key(*key))
            .chain(
                EXTENSION_FILES
                    .into_iter()
                    .filter(|name| home.join(name).is_file()),
            )
            .chain(
                EXTENSION_FOLDERS
                    .into_iter()
                    .filter(|name| has_visible_entry(&home.join(name))),
            )
            .collect();
        names.sort_unstable();
        // `plugins` and `memories` are keys and folders.
        names.dedup();
        let named = names.into_iter().map(|name| (name, Vec::new()));
        let listed = lists.into_iter().filter(|(_, parts)| !parts.is_empty());
        let contents = listed.chain(named);
        Self(
            contents
                .map(|(name, parts)| HomeContent { name, parts })
                .collect(),
        )
    }

    /// Whether the home has none of these contents.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the contents that chats do not use, as text; empty for none.
    pub fn unused_by_chats(&self) -> String {
        join(self.0.iter())
    }

    /// Returns the contents that agents use, as text; empty for none.
    pub fn used_by_agents(&self) -> String {
        let used = |content: &&HomeContent| FOR_AGENTS.contains(&content.name);
        join(self.0.iter().filter(used))
    }
}

fn join<'a>(contents: impl Iterator<Item = &'a HomeContent>) -> String {
    let describe = |content: &HomeContent| {
        if content.parts.is_empty() {
            content.name.to_owned()
        } else {
            format!("{} ({})", content.name, content.parts.join(", "))
        }
    };
    contents.map(describe).collect::<Vec<_>>().join(", ")
}

fn server_names(config: &Table) -> Vec<String> {
    let servers = config.get(MCP_SERVERS).and_then(toml::Value::as_table);
    servers
        .into_iter()
        .flatten()
        .map(|(name, _)| name.clone())
        .collect()
}

/// Returns the keys that are neither kept nor reported by themselves.
fn other_keys(config: &Table) -> Vec<String> {
    let is_other = |key: &&String| {
        let key = key.as_str();
        !KEPT_KEYS.contains(&key)
            && !EXTENSION_KEYS.contains(&key)
            && ![PROVIDERS, "model_provider", MCP_SERVERS, NOTIFY].contains(&key)
    };
    config.keys().filter(is_other).cloned().collect()
}

fn has_visible_entry(folder: &Path) -> bool {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .into_iter()
        .any(|entry| !entry.file_name().to_string_lossy().starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn contents_beside_login_provider_and_model_are_named() {
        let home = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let path = home.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        };
        write("auth.json", "{}");
        write("skills/.system/a/SKILL.md", "Codex's own");
        write(
            "config.toml",
            "model = \"a\"\n[model_providers.x]\nname = \"x\"\n",
        );
        assert!(HomeContents::read(home.path()).is_empty());
        write("AGENTS.md", "Obey.");
        write("skills/ours/SKILL.md", "Skill.");
        write("rules/default.rules", "");
        write(
            "config.toml",
            "notify = [\"a\"]\npersonality = \"friendly\"\n[mcp_servers.web]\ncommand = \"b\"\n\
             [mcp_servers.docs]\ncommand = \"c\"\n[hooks]\n",
        );
        let contents = HomeContents::read(home.path());
        assert_eq!(
            contents.unused_by_chats(),
            "mcp_servers (docs, web), settings (personality), AGENTS.md, hooks, notify, rules, skills"
        );
        assert_eq!(
            contents.used_by_agents(),
            "mcp_servers (docs, web), settings (personality), AGENTS.md, notify, rules"
        );
    }
}
