//! The models of Codex: its list, the files that children are started with, and the reaction to changes.

mod catalog_files;
mod list;
mod model_list;
mod watch;

pub(super) use model_list::{ModelList, ModelSource, agent_path, plain_path};
pub(in crate::codex) use watch::watch_models;
