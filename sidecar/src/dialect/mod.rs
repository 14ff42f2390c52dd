//! What clients speak: bytes of a request -> a turn, events of a turn -> bytes of an answer.
//! The OpenAI API reference is the authority on shapes; each dialect has a file, and all share errors and streams.

pub mod chat;
mod error;
pub mod models;
mod sse;

pub use error::ApiError;
pub use sse::event_stream;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// How the answer shall be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Server-sent events as they happen.
    Stream {
        /// Whether a chunk with the usage comes before the end.
        include_usage: bool,
    },
    /// One JSON document at the end.
    Gathered,
}

/// Seconds since the epoch, as OpenAI's `created` wants them.
fn unix_seconds() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.unwrap_or(Duration::ZERO).as_secs()
}

/// A fresh id such as `chatcmpl-Xy…`, hard to guess and never used twice.
fn fresh_id(prefix: &str) -> String {
    const RANDOM_CHARACTERS: usize = 24;
    let random = std::iter::repeat_with(fastrand::alphanumeric).take(RANDOM_CHARACTERS);
    prefix.chars().chain(random).collect()
}
