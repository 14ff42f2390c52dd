//! A request through the filter: its messages, its callbacks, its result.

mod exchange;
mod exchange_runner;
mod half_stream;
mod message;

pub use exchange::{Exchange, Outcome};
pub(super) use exchange_runner::Stream;
pub use message::{Message, Protocol, Request, Responder, Response};
