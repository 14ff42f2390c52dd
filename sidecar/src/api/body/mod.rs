//! The body of a request: reserved, read and decoded within the budget of memory.

mod content_encoding;
mod read;

pub(super) use read::read;
