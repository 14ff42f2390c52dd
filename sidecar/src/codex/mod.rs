//! What children speak: how a Codex is started, which one takes a turn, and the protocols that it may know.

mod app_server;
mod backend;
#[cfg(any(test, feature = "harness"))]
mod harness;
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
pub use launch::{
    CodexHome, ConfigToml, DryRun, Launch, LaunchError, Login, Protocol, can_be_appended,
    can_be_filled,
};
pub use protocol_log::ProtocolLog;
pub use rate_limits::{RateLimitWindow, RateLimits};
pub use turn_queue::Readiness;
