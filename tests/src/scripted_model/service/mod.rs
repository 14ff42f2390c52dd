//! The HTTP service: its handle for tests, its routes, and the choice of the script for a request.

mod control;
mod demo;
mod handle;
mod server;
mod state;

pub use handle::ScriptedModel;
