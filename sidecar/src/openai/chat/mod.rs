//! `/v1/chat/completions`: a request body -> a turn, its events -> chunks or one completion.
//! OpenAI API reference, "Chat completions" and "Chat completion chunk".

mod answer;
mod messages;
mod request;
#[cfg(test)]
mod tests;
mod tools;

pub use answer::{ChunkWriter, collect};
pub use request::parse;
