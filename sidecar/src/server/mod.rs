//! The HTTP server of the sidecar: listeners, accept loop, connections, and shutdown.

mod accept;
mod connection;
pub mod listener;
mod shutdown;
mod unix_stream;

pub use accept::serve;
pub use shutdown::Shutdown;
