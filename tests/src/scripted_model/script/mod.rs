//! Scripts: the steps of a response, read from JSON or from a directive in a prompt.

pub(crate) mod directive;
mod head;
mod parse;
mod steps;

pub(crate) use head::ResponseHead;
pub use steps::Script;
pub(crate) use steps::{
    AutoStep, CallStep, CustomCallStep, CutKind, EchoPart, ErrorStep, MessageContent,
    MessageOptions, MessagePhase, MessageStep, ModelAction, Pace, ReasoningStep, ScriptedResponse,
    StreamEnd, UsageStep, Wait, WriteMode,
};
