//! `/v1/completions`: a request body -> a turn with one message, its events -> chunks of text or one completion.
//! OpenAI API reference, "Completions (legacy)"; `openai/request` and `openai/response` have the parts shared with
//! chat.

mod request;
mod response;

pub use request::{PromptEcho, parse};
pub use response::{CompletionChunkWriter, collect};
