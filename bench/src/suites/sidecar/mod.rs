//! The cost of the sidecar, compared with a bare loop that reads the same pipe of the same child.
//!
//! The child is `instant-codex`. Its deltas carry timestamps, which both clients compare with the same clock.

mod latency;
mod slow_readers;
mod streams;
mod suite;
mod turns;

pub(super) use suite::run;
