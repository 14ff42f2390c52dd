//! Launch of a Codex child: binary, version, login, home, environment, command line and sandbox.

pub(super) mod config_toml;
mod directories;
mod dry_run;
pub(super) mod error;
mod home;
pub(super) mod login;
mod model_catalog;
pub(super) mod prepare;
pub(super) mod sandbox;
pub(super) mod version;

pub use config_toml::ConfigToml;
pub use directories::{can_be_appended, can_be_filled};
pub use dry_run::DryRun;
pub use error::LaunchError;
pub use home::CodexHome;
pub use login::Login;
pub use prepare::Launch;
pub use version::Protocol;
