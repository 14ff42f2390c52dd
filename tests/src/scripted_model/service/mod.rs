//! The HTTP service: its handle for tests, its routes, the choice of the script for a request, and the
//! prompt cache.

mod control;
mod demo;
mod handle;
mod prompt_cache;
mod server;
mod state;

pub use handle::ScriptedModel;
