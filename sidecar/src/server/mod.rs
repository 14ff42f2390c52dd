//! The HTTP server on the sidecar's socket: accept loop and drain, binding and unlinking the address, the stream type.

mod accept;
mod connection;
pub mod listener;
mod shutdown;
mod unix_stream;

pub use accept::serve;
pub use shutdown::Shutdown;
