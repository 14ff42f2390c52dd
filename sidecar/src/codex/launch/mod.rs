//! Launch of a Codex child: binary, version, login, home, environment, command line and sandbox.

pub(super) mod config_toml;
mod directories;
mod dry_run;
pub(super) mod error;
mod home;
#[expect(
    clippy::module_inception,
    reason = "the folder is named after its main type's module"
)]
pub(super) mod launch;
pub(super) mod login;
mod model_catalog;
pub(super) mod sandbox;
pub(super) mod version;

pub use config_toml::ConfigToml;
pub use directories::{can_be_appended, can_be_filled};
pub use dry_run::DryRun;
pub use error::LaunchError;
pub use home::CodexHome;
pub use launch::Launch;
pub use login::Login;
pub use version::Protocol;
