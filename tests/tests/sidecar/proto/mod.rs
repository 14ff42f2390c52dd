//! The sidecar with a Codex 0.42, which speaks `proto`: one child a turn.

mod chat;
mod children;
mod confinement;
mod failures;
mod features;
mod launch;

use tests::scripted_model::ScriptedModel;
use tests::sidecar::{Sidecar, SidecarOptions};
use xtask::tools::{Tool, Tools};

use crate::stack;

/// A model and a sidecar with the last Codex that speaks `proto`.
async fn start() -> (ScriptedModel, Sidecar) {
    start_with(|options| options).await
}

/// The same, with what `change` changes.
async fn start_with(
    change: impl FnOnce(SidecarOptions) -> SidecarOptions,
) -> (ScriptedModel, Sidecar) {
    stack::start_with(|options| change(options.env("CODEX_BIN", &codex()))).await
}

pub(crate) fn codex() -> String {
    let codex = Tools::open().executable(Tool::CodexProto);
    let codex = codex.expect("Codex was fetched: `cargo xtask fetch`");
    codex.to_string_lossy().into_owned()
}
