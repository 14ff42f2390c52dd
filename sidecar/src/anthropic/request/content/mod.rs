//! The content of a request: the system prompt, and the messages with their blocks.

mod blocks;
mod messages;
mod system;

#[cfg(test)]
pub(super) use blocks::{ImageSource, ImageTransformations, ResultBlock};
#[cfg(test)]
pub(super) use messages::{Block, CallerField, MessageOutputConfig};
pub(super) use messages::{Conversation, InputMessage, conversation};
#[cfg(test)]
pub(super) use system::SystemBlock;
pub(super) use system::{SystemField, system};
