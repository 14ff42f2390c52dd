//! Failures that Codex reports, mapped to the domain's errors: of a turn, and of a call that prepares one.

mod call;
mod provider;
mod turn;

pub(super) use call::call_error;
pub(super) use turn::outcome;
