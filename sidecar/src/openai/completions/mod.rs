//! `/v1/completions`: a request body -> a turn with one message, its events -> chunks of text or one completion.
//! OpenAI API reference, "Completions (legacy)"; what it shares with chats is in `answer` and `fields`.

mod answer;
mod request;

pub use answer::{ChunkWriter, collect};
pub use request::{Echo, parse};
