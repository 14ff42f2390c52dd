//! The protocol of `codex app-server` as a state machine without IO: lines in; lines, events and closed turns out.
//! Protocol v2 of Codex 0.169. Each turn has an ephemeral thread, and one child runs many turns at once.

mod ahead;
mod calls;
mod command_line;
mod decoding;
mod error;
mod failure;
mod ids;
mod rebuilt;
mod record_queue;
mod requests;
mod responses;
mod session;
#[cfg(test)]
mod tests;
mod thread;
mod wire;

pub(super) use command_line::arguments;
pub(super) use error::AppServerError;
pub(super) use ids::TurnKey;
pub(super) use rebuilt::tools_json;
pub(super) use session::{AppServerSession, SessionOutput, SessionState};
pub(super) use thread::{Continuation, KeptThread, ParkedTurn};
pub(super) use wire::{RebuiltThread, RolloutRecord};
