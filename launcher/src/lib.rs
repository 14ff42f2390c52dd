//! `codex-edge`: starts, checks and configures a stack of Envoy, the filter, the sidecar and Codex.
//! `cargo xtask up` runs the same [`up`] with the programs of a clone.

#![deny(clippy::print_stderr)]

pub mod check;
pub mod command;
pub mod envoy_check;
pub mod envoy_config;
pub mod installed;
pub mod key;
pub mod program;
pub mod report;
pub mod up;
