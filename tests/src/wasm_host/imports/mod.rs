//! The host functions that a guest may import.

mod guest;
mod linker;
mod process;
mod result;
mod stream;
mod wasi;

pub(super) use linker::{Unsupported, linker};
