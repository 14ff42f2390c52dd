//! An HTTP client that shows the exchange on the wire: one connection, HTTP/1.1 or HTTP/2 by prior knowledge.
//! Follows RFC 9112 and RFC 9113 by way of hyper; [`raw()`] sends octets that no client library would send.

mod client;
mod deadline;
mod raw;
mod request;

pub use client::{BufferedResponse, Chunk, Client, StreamedResponse, Version};
pub use deadline::DEADLINE;
pub use raw::raw;
pub use request::{Body, bearer, empty, get, post, with};
