//! `sidecar key`: makes API keys, and adds, lists and disables them in `filter.yaml` without an editor.
//! The sidecar itself never reads a key; `codex-edge key` runs this command.

mod args;
mod edit;
mod entry;
mod file;
mod run;
mod yaml;

pub use args::KeyCommand;
pub use run::{KeyError, run};
