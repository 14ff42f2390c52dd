//! The HTTP server on the sidecar's socket: accept loop and drain, binding and unlinking of the address, the stream type.

mod accept;
pub mod listener;
pub mod tied;
mod unix_stream;

pub use accept::{Shutdown, serve};
