//! Others that put an OpenAI-shaped API before the Codex CLI, with the same Codex, model and clients as we have.

mod comparison;
mod observe;
mod peer;

pub(super) use comparison::run;
