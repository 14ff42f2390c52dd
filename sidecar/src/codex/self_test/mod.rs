//! The self-test of a Codex that was not tested with this release: the calls of a turn up to the one that would reach
//! the model.

mod probe;
mod script;

pub(super) use probe::run;
pub use script::SelfTestError;
