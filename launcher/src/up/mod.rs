//! `codex-edge up` and `cargo xtask up`: start the stack, and remove every trace of it on Ctrl-C.
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
mod source;
mod stack;

pub use login::LoginKind;
pub use mode::Mode;
pub use run::{UpArgs, up};
pub use source::{Source, StackFiles};

pub(crate) use run::{api_key, bind_public};
pub(crate) use run_dir::RunDir;
pub(crate) use services::Services;
