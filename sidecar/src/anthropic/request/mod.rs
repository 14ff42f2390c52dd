//! Requests of `/v1/messages` and `/v1/messages/count_tokens`: a JSON body -> a turn.
//! Anthropic API reference, "Create a Message" and "Count tokens in a Message".

mod body;
mod content;
mod context;
mod count;
mod effort;
mod output;
mod parse;
#[cfg(test)]
mod tests;
mod thinking;
mod tools;

pub use count::count_tokens;
pub use parse::{MessageSpec, parse};
pub(super) use thinking::ThinkingDisplay;
