//! The sidecar with Codex 0.42, which speaks `proto`: one child for each turn.

mod chat;
mod children;
mod confinement;
mod failures;
mod features;
mod fixture;
mod launch;

pub(crate) use fixture::codex_binary;
