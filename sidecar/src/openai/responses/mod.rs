//! `/v1/responses`: a request body -> a turn, its events -> typed events or one response; and what is kept of it.
//! OpenAI API reference, "Responses" and "Responses streaming"; Open Responses where OpenAI leaves a shape open.

mod answer;
mod body;
mod echo;
mod event;
mod input;
mod item;
mod list;
mod object;
mod output;
mod parts;
mod request;
#[cfg(test)]
mod tests;
mod tools;

pub use answer::{ResponseWriter, collect};
pub use list::{Page, deleted, input_items};
pub use request::{ClientResponses, Reply, parse};
