//! One request as its client lives through it, and many of them under a load.

mod chunk_reader;
mod load;
mod sample;

pub(crate) use load::{Load, closed_loop, open_loop};
pub(crate) use sample::{Door, KEY, Visit, chat};
