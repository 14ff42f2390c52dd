//! What children speak: how a Codex is started, which one takes a turn, and the protocols that it may know.

mod agent;
mod app_server;
mod backend;
mod catalogue;
mod home;
mod json_line;
mod launch;
mod order;
mod plan;
mod proto;
mod version;
mod wiretap;
mod worker;

pub use backend::{Backend, Status};
pub use home::Home;
pub use launch::{Launch, LaunchError};
pub use order::Readiness;
pub use plan::{Plan, PlanWindow};
pub use version::Protocol;
pub use wiretap::Wiretap;
