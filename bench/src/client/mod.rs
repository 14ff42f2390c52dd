//! HTTP clients of a benchmark: one request as its client experiences it, and many requests under load.

mod chunk_reader;
mod load;
mod sample;
mod target;

pub(crate) use load::{Load, closed_loop, open_loop, open_loop_on};
pub(crate) use sample::RequestSample;
pub(crate) use target::{KEY, Target, chat};
