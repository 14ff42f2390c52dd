//! Codex children: launch, admission of turns, workers, and the two protocols that children speak.

mod admission;
mod app_server;
mod backend;
mod connection;
mod conversation;
#[cfg(any(test, feature = "harness"))]
mod harness;
mod home;
mod json_line;
mod launch;
mod login_watch;
mod proto;
mod protocol_log;
mod rate_limits;
mod readiness;
mod self_test;
mod turn_queue;
mod warm;
mod wire;
mod workers;

pub use backend::{Backend, BackendStatus};
pub use conversation::RebuiltCounts;
#[cfg(any(test, feature = "harness"))]
pub use harness::{ChildHarness, HarnessError, HarnessOutput};
pub use home::CodexHome;
pub use launch::{
    ConfigToml, DryRun, HomeContents, Launch, LaunchError, Login, PERSONAL_LOGIN, Protocol,
    check_dir_writable, check_file_appendable,
};
pub use protocol_log::ProtocolLog;
pub use rate_limits::{RateLimitWindow, RateLimits};
pub use readiness::Readiness;
pub use self_test::SelfTestError;
pub use warm::WarmStatus;
