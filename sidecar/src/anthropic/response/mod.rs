//! Responses of `/v1/messages`: one message, or the events of a stream.
//! Anthropic API reference, "The Message object" and "Streaming Messages".

mod blocks;
mod message;
pub(super) mod signature;
mod stop;
mod stream;
#[cfg(test)]
mod tests;
pub(super) mod tool_input;
mod usage;

pub use message::collect;
pub use stream::MessageWriter;
