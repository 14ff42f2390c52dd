//! Codex without the sidecar: what is ordered of the stand-in, and a bare loop that drives a child over its pipes.
//! Codex app-server, protocol v2.

mod order;
mod pipe;

pub use order::Order;
pub(crate) use pipe::{Pace, Pipe};
