//! Launch of a Codex child: binary, version, login, environment, command line, model catalogue and sandbox.

pub(super) mod agent_clients;
pub(super) mod arguments;
mod binary;
pub(super) mod config_toml;
mod directories;
mod dry_run;
mod error;
mod login;
mod models;
pub(super) mod plain_home;
mod prepare;
pub(super) mod sandbox;
mod version;

pub use config_toml::ConfigToml;
pub use directories::{check_dir_writable, check_file_appendable};
pub use dry_run::DryRun;
pub use error::LaunchError;
pub use login::{Login, PERSONAL_LOGIN};
pub(super) use models::watch_models;
pub use plain_home::HomeContents;
pub(super) use prepare::ChildFolder;
pub use prepare::Launch;
pub use version::Protocol;
