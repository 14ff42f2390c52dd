//! What clients speak: bytes of a request -> a turn, events of a turn -> bytes of an answer.
//! The OpenAI API reference is the authority on shapes; each dialect has a file, and all share errors and streams.

pub mod chat;
pub mod completions;
pub mod models;
mod request;
mod response;
pub mod responses;
pub mod usage;

pub use request::body::Ignored;
pub use response::error::ApiError;
pub use response::options::Reply;
pub(crate) use response::options::finish_reason;
pub use response::sse::{EventFrames, event_stream};

use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// What a client reads in the place of a refusal: Codex says no more of it than that nothing came.
const NO_ANSWER: &str =
    "The model gave no answer; it may have refused. Codex does not pass on its words.";

/// How the answer shall be delivered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Delivery {
    /// Server-sent events as they happen.
    Stream {
        /// Whether a chunk with the usage comes before the end.
        include_usage: bool,
    },
    /// One JSON document at the end.
    Buffered,
}

impl Delivery {
    /// What a client asks for with these fields; usage is streamed only when it is asked for.
    fn of(stream: Option<bool>, include_usage: Option<bool>) -> Self {
        if stream == Some(true) {
            Self::Stream {
                include_usage: include_usage == Some(true),
            }
        } else {
            Self::Buffered
        }
    }
}

/// Seconds since the epoch, as OpenAI's `created` wants them.
fn unix_seconds() -> u64 {
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH);
    since_epoch.unwrap_or(Duration::ZERO).as_secs()
}

/// Characters of an id behind its prefix.
const ID_CHARACTERS: usize = 24;

/// A fresh id such as `chatcmpl-Xy…`, hard to guess and never used twice.
fn fresh_id(prefix: &str) -> String {
    let random = std::iter::repeat_with(fastrand::alphanumeric).take(ID_CHARACTERS);
    prefix.chars().chain(random).collect()
}
