//! Other gateways that offer an OpenAI-compatible API for the Codex CLI, with the same Codex, model and clients.
//!
//! The packages are pinned in `bench/peers/requirements.txt`, each configured as its own documentation says.

mod comparison;
mod observe;
mod peer;

pub(super) use comparison::run;
pub(super) use peer::{PEERS, Peer, PeerSpec};
