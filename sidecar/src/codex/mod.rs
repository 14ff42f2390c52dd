//! What children speak: how a Codex is started, which one takes a turn, and the protocols that it may know.

mod app_server;
mod backend;
mod launch;
mod worker;

pub use backend::{Backend, Readiness};
pub use launch::{Launch, LaunchError};
