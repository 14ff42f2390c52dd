//! The messages of `codex app-server` (protocol v2, JSON-RPC 2.0 without the `jsonrpc` field), reduced to the fields
//! that the sidecar uses. Unknown fields are ignored, since each release of Codex adds some.

pub(super) mod custom;
mod history;
mod incoming;
pub(super) mod names;
mod outgoing;
mod rollout;
mod tools;

pub(super) use history::history;
pub(super) use incoming::*;
pub(super) use outgoing::*;
pub(in crate::codex) use rollout::{RebuiltThread, RolloutRecord};
pub(super) use tools::dynamic_tools;
