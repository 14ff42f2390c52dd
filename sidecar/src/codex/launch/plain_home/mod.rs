//! The home of children that serve chats: the operator's login and provider, and nothing else of the operator's home.

mod contents;
mod folder;
mod reduced_config;

pub use contents::HomeContents;
pub(in crate::codex) use folder::write_plain_home;
