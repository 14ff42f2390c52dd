//! `cargo xtask up`: starts the stack from a clone, and removes every trace of it on Ctrl-C.
//! Arguments, variables and files follow `envoy/`, the sidecar's configuration and Codex's `config.toml`.

mod admin;
mod banner;
mod login;
mod mode;
mod ready;
mod run;
mod run_dir;
mod service;
mod services;
mod stack;

pub use run::{UpArgs, up};
