//! Codex without the sidecar: what is ordered of the stand-in, and a bare loop that drives a child over its pipes.
//! Codex app-server, protocol v2.

mod bare_loop;
mod workload;

pub(crate) use bare_loop::{Pace, Pipe};
pub use workload::Order;
