//! The body of `POST /v1/responses`: its fields, its input, its tools, and the turn that they become.

mod body;
mod input;
mod parse;
mod parts;
mod references;
mod tools;

#[cfg(test)]
pub(super) use body::{ReasoningOptions, ResponseRequestBody, TextOptions};
#[cfg(test)]
pub(super) use input::{InputItem, InputSummary};
pub use parse::{ResponseSpec, parse};
#[cfg(test)]
pub(super) use parts::InputPart;
pub use references::references;
#[cfg(test)]
pub(super) use tools::ResponseTool;
