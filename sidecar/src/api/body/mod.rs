//! The body of a request: reserved, read and decoded within the budget of memory.

mod buffer;
mod content_encoding;
mod read;
mod request_body;

pub(super) use read::read;
pub(super) use request_body::RequestBody;
