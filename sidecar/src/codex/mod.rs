//! What children speak: how a Codex is started, which one takes a turn, and the protocols that it may know.

mod app_server;
mod backend;
#[cfg(any(test, feature = "harness"))]
mod harness;
mod home;
mod json_line;
mod launch;
mod proto;
mod protocol_log;
mod rate_limits;
mod turn_queue;
mod worker;

pub use backend::{Backend, Status};
#[cfg(any(test, feature = "harness"))]
pub use harness::{Broken, Reaction, Replay};
pub use home::CodexHome;
pub use launch::{
    ConfigToml, DryRun, Launch, LaunchError, Login, Protocol, check_dir_writable,
    check_file_appendable,
};
pub use protocol_log::ProtocolLog;
pub use rate_limits::{RateLimitWindow, RateLimits};
pub use turn_queue::Readiness;
