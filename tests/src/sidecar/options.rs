//! Options of a sidecar under test: its Codex, its provider and its environment.

use std::fs;
use std::path::PathBuf;

use super::binary::sidecar_binary;
use super::process::Sidecar;
use crate::codex::{codex_binary, codex_tool};
use crate::scripted_model::ScriptedModel;
use tempfile::TempDir;
use xtask::tools::Tool;

/// A sidecar before its start.
#[derive(Debug)]
pub struct SidecarOptions {
    program: Option<PathBuf>,
    env: Vec<(String, String)>,
    home_files: Vec<(String, String)>,
}

impl SidecarOptions {
    /// The Codex of the tests, with `model` as its provider.
    pub fn new(model: &ScriptedModel) -> Self {
        Self::with_codex(codex_tool(), model)
    }

    /// The fetched `codex`, with `model` as its provider.
    pub fn with_codex(codex: Tool, model: &ScriptedModel) -> Self {
        let options = Self {
            program: None,
            env: Vec::new(),
            home_files: Vec::new(),
        };
        options
            .env("CODEX_BIN", &codex_binary(codex))
            .env("CODEX_FORCE_PROVIDER", "scripted")
            .env("SCRIPTED_MODEL_URL", &model.base_url())
    }

    /// Replaces the tests' own build of the sidecar by another program.
    #[must_use]
    pub fn program(mut self, program: PathBuf) -> Self {
        self.program = Some(program);
        self
    }

    /// Sets a variable; the sidecar's environment holds only `PATH`, its folders and the variables that are set here.
    #[must_use]
    pub fn env(mut self, name: &str, value: &str) -> Self {
        self.env.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Changes a variable that was set before.
    #[must_use]
    pub fn map_env(mut self, name: &str, change: impl Fn(&str) -> String) -> Self {
        for (_, value) in self.env.iter_mut().filter(|(known, _)| known == name) {
            *value = change(value);
        }
        self
    }

    /// Writes a file into Codex's home before the start; a `config.toml` replaces the one that names the provider.
    #[must_use]
    pub fn home_file(mut self, name: &str, text: &str) -> Self {
        self.home_files.push((name.to_owned(), text.to_owned()));
        self
    }

    /// Starts the sidecar and waits until it is ready.
    pub async fn start(self) -> Sidecar {
        let mut sidecar = self.spawn();
        sidecar.wait_until_ready().await;
        sidecar
    }

    /// Starts the sidecar without waiting for its readiness.
    pub fn spawn(self) -> Sidecar {
        let dir = TempDir::new().expect("the temporary folder is writable");
        let home = dir.path().join("codex-home");
        fs::create_dir(&home).expect("the temporary folder is writable");
        // The last value counts, as in the sidecar's environment.
        let url = self
            .env
            .iter()
            .rev()
            .find(|(name, _)| name == "SCRIPTED_MODEL_URL");
        if let Some((_, url)) = url {
            let provider = format!(
                "[model_providers.scripted]\nname = \"scripted\"\nbase_url = \"{url}\"\nwire_api = \"responses\"\n"
            );
            fs::write(home.join("config.toml"), provider)
                .expect("the temporary folder is writable");
        }
        for (name, text) in &self.home_files {
            fs::write(home.join(name), text).expect("the temporary folder is writable");
        }
        let program = self.program.unwrap_or_else(|| sidecar_binary().to_owned());
        Sidecar::spawn_in(dir, program, self.env)
    }
}
