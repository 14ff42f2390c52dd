//! Redis or Valkey as the store of several sidecars: the address, and a connection that is kept.
//!
//! Considered: `redis::aio::ConnectionManager`, which keeps a connection without answers, as one over a network that drops
//! packets has.

mod address;
mod keeper;
mod link;
#[cfg(test)]
mod server;

pub use address::{RedisAddress, RedisAddressError};
pub use keeper::probe;
pub(super) use keeper::{LEASE, RedisKeeper};
pub(super) use link::{LinkError, RedisLink};
#[cfg(test)]
pub(super) use server::RedisServer;
