//! Interfaces of the operator: configuration, `--check`, logs, usage, the admin listener.

mod admin;
mod check;
mod configuration;
mod logs;
mod untested_codex;
mod usage;
