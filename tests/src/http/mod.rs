//! An HTTP client that shows what went over the wire: one connection, HTTP/1.1 or HTTP/2 by prior knowledge.
//! Follows RFC 9112 and RFC 9113 by way of hyper; [`raw()`] is for what no client library would send.

mod client;
mod raw;
mod request;

use std::time::Duration;

use tokio::time::timeout;

pub use client::{Answer, Client, Piece, Stream, Version};
pub use raw::raw;
pub use request::{Body, bearer, empty, get, post, with};

/// Longest wait for a connection, a response head or the next piece of a body.
pub const DEADLINE: Duration = Duration::from_secs(20);

async fn deadline<T>(wait: impl Future<Output = T>) -> T {
    timeout(DEADLINE, wait)
        .await
        .expect("the server acts within the deadline")
}
