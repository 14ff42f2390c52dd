//! Scripts: the steps that a response is made of, read from JSON and found in prompts.

pub(crate) mod directive;
mod head;
mod parse;
mod steps;

pub(crate) use head::Head;
pub use steps::Script;
pub(crate) use steps::{
    Act, Answer, Auto, Call, Content, CustomCall, Cut, Echo, End, Message, MessageOptions, Pace,
    Phase, Reasoning, Status, Usage, Wait, Writes,
};
