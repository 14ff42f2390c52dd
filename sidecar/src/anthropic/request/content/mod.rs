//! The content of a request: the system prompt, and the messages with their blocks.

mod blocks;
mod input;
mod messages;
mod system;

#[cfg(test)]
pub(super) use blocks::{ImageSource, ImageTransformations, ResultBlock};
pub(super) use input::InputMessage;
#[cfg(test)]
pub(super) use input::{Block, CallerField, MessageOutputConfig};
pub(super) use messages::{Conversation, conversation};
#[cfg(test)]
pub(super) use system::SystemBlock;
pub(super) use system::{SystemField, system};
