//! The body of `POST /v1/responses`: its fields, its input, its tools, and the turn that they become.

mod body;
mod input;
mod parse;
mod parts;
mod tools;

#[cfg(test)]
pub(super) use body::ResponseRequestBody;
pub use parse::{ResponseSpec, parse};
