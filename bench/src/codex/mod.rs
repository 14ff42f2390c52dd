//! Codex without the sidecar: the workload of the stand-in `instant-codex`, and a bare loop that drives a child over its
//! pipes with the app-server protocol, version 2.

mod bare_loop;
mod workload;

pub(crate) use bare_loop::{BareLoop, Pacing};
pub use workload::Workload;
