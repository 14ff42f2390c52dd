//! Conversations of several requests: the share of the provider's cache, the time to the first token, Codex's processor
//! time.
//!
//! Clients send the whole history with each request, or the id of the previous response, and the scripted model emulates
//! the provider's prompt cache. Sidecars with and without warm threads alternate with `codex exec resume`, which keeps
//! one thread for the whole conversation.

mod client;
mod exchange;
mod filler;
mod reference;
mod replicas;
mod run;
mod score;
mod shape;
mod shapes;
mod variant;

pub(super) use run::run;
