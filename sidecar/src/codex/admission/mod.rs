//! Admission: the permits of concurrent turns, shared between the clients, and the queue for them.

mod permit;
mod schedule;
#[cfg(test)]
mod tests;

pub(super) use permit::{Admission, TurnPermit};
