//! Truncation of a model's text: the part that reaches the client, and the end of the turn.
//! Follows the OpenAI API reference (`stop`, `max_tokens`) and, for `<use_tool>` blocks, the earlier Node proxy.
//!
//! Text passes three rules in this order: tool blocks, stop sequences, token limit. Each takes time linear in the text,
//! however it is split into deltas, and the split changes neither the text nor the end.

mod sequence;
mod stop;
mod tokens;
mod tools;
mod truncated;
mod truncator;

#[cfg(test)]
mod tests;

pub use tools::ToolBlockTail;
pub use truncated::Truncated;
pub use truncator::{TruncationRules, Truncator};
