//! A sidecar with the last Codex version that speaks `proto`.

use tests::scripted_model::ScriptedModel;
use tests::sidecar::{Sidecar, SidecarOptions};
use xtask::tools::{Tool, Tools};

use crate::stack;

/// Starts a scripted model and a sidecar with a `proto` Codex.
pub(super) async fn start() -> (ScriptedModel, Sidecar) {
    start_with(|options| options).await
}

/// Starts a scripted model and a sidecar with a `proto` Codex, after `change` of the sidecar's options.
pub(super) async fn start_with(
    change: impl FnOnce(SidecarOptions) -> SidecarOptions,
) -> (ScriptedModel, Sidecar) {
    stack::start_codex(Tool::CodexProto, change).await
}

/// The path of the pinned `proto` Codex.
pub(crate) fn codex_binary() -> String {
    Tools::open()
        .executable(Tool::CodexProto)
        .expect("Codex was fetched: `cargo xtask fetch`")
        .to_string_lossy()
        .into_owned()
}
