//! What children speak: how a Codex is started, which one takes a turn, and the protocols that it may know.

mod agent;
mod app_server;
mod backend;
mod catalogue;
mod config_toml;
mod folders;
mod home;
mod json_line;
mod launch;
mod launch_error;
mod login;
mod order;
mod plan;
mod proto;
mod rehearsal;
mod replay;
mod version;
mod wiretap;
mod worker;

pub use backend::{Backend, Status};
pub use config_toml::ConfigToml;
pub use folders::{can_be_appended, can_be_filled};
pub use home::Home;
pub use launch::Launch;
pub use launch_error::LaunchError;
pub use login::Login;
pub use order::Readiness;
pub use plan::{Plan, PlanWindow};
pub use rehearsal::Rehearsal;
pub use replay::{Broken, Reaction, Replay};
pub use version::Protocol;
pub use wiretap::Wiretap;
