//! The real sidecar with a real Codex that talks to the scripted model, started and stopped for a test.
//! Follows the sidecar's `--help`; only the model provider in Codex's `config.toml` is made up.

mod binary;
mod options;
mod process;

pub use crate::codex::{codex_binary, codex_tool};
pub use crate::processes::{children_of, is_running, wait_until_gone};
pub use binary::sidecar_binary;
pub use options::SidecarOptions;
pub use process::{Predecessor, Sidecar};
