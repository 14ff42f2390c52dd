//! The Codex of the tests: the fetched program and the models that it lists.

pub mod models;
mod program;

pub use program::{codex_binary, codex_tool};
