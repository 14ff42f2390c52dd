//! Fixtures of the suites with the real Codex: a prompt, a model that answers it, and a `CODEX_HOME`.

use serde_json::json;
use tempfile::TempDir;
use tests::codex::models::default_model;
use tests::scripted_model::{Script, ScriptedModel};

/// The prompt of every request.
pub(super) const PROMPT: &str = "Who watched the fox at the door?";

/// Starts a model that answers every request with a short text and without a delay.
pub(super) async fn start_model() -> anyhow::Result<ScriptedModel> {
    let model = ScriptedModel::start().await?;
    let message = json!({"text": "Nobody watched the fox at the door.", "delta_chars": 5});
    model.set_default(Some(Script::parse(message)?));
    Ok(model)
}

/// Creates a `CODEX_HOME` with `model` as the provider, for children that the sidecar does not start.
pub(super) fn create_home(model: &ScriptedModel) -> anyhow::Result<TempDir> {
    let home = TempDir::new()?;
    let config = format!(
        "model = \"{}\"\nmodel_provider = \"scripted\"\n[model_providers.scripted]\nname = \"scripted\"\n\
         base_url = \"{}\"\nwire_api = \"responses\"\n",
        default_model(),
        model.base_url()
    );
    std::fs::write(home.path().join("config.toml"), config)?;
    Ok(home)
}
