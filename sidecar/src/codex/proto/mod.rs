//! The protocol of `codex proto` (Codex 0.36 to 0.42) as a state machine without IO, and the pool of its children.
//! A `codex proto` process holds one conversation, so each child serves one turn and then exits.

mod assembler;
mod child;
mod command_line;
mod confine;
mod failure;
mod home;
pub(super) mod native;
mod pool;
mod prompt;
mod session;
#[cfg(test)]
mod tests;
mod wire;

pub(super) use command_line::arguments;
pub(super) use confine::is_supported as confinement_is_supported;
pub(super) use pool::Pool;
#[cfg(any(test, feature = "harness"))]
pub(super) use session::{ProtoOutput, ProtoPhase, ProtoSession};
