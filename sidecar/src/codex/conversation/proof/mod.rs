//! The proof that a rebuilt thread asks the model for the same as a new one, with the session id of its rollout file.
//!
//! A child proves it itself, with threads of a provider that the sidecar plays: neither the operator's provider nor the login is
//! used.

mod client;
mod error;
mod provider;
mod run;
mod script;

pub(super) use error::ProofError;
pub(super) use run::Proof;
