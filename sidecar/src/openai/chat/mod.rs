//! `/v1/chat/completions`: a request body -> a turn, its events -> chunks or one completion.
//! OpenAI API reference, "Chat completions" and "Chat completion chunk".

mod messages;
mod request;
mod response;
#[cfg(test)]
mod tests;
mod tools;

pub use request::parse;
pub use response::{ChatChunkWriter, collect};
