//! The channel between the worker of a turn and its client: the two ends, and the unread events between them.

mod channel;
mod event_buffer;

pub use channel::{EventWriter, Timers, Turn, channel};
