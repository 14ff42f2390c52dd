//! `/v1/responses`: a request body -> a turn, its events -> typed events or one response; and the stored responses.
//! OpenAI API reference, "Responses" and "Responses streaming"; Open Responses where OpenAI does not specify a shape.

mod echo;
mod event;
mod item;
mod list;
mod object;
mod output;
mod request;
mod response;
mod scope;
#[cfg(test)]
mod tests;

pub use list::{Page, deleted, input_items};
pub use request::{ResponseSpec, parse, references};
pub use response::{ResponseWriter, collect};
pub use scope::ClientResponses;
