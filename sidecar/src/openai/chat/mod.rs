//! `/v1/chat/completions`: a request body -> a turn, its events -> chunks or one completion.
//! OpenAI API reference, "Chat completions" and "Chat completion chunk".

mod earlier_reasoning;
mod messages;
mod request;
mod response;
mod response_body;
#[cfg(test)]
mod tests;
mod tools;

pub use earlier_reasoning::ClientReasoning;
pub use request::parse;
pub use response::{ChatChunkWriter, collect};
pub use response_body::parse_response_body;
