//! Rate limits: token buckets in the shared data of all workers of an Envoy.
//!
//! Written by hand because governor keeps its state in the memory of one process (atomics or a map), while each worker
//! has its own VM: here a bucket is eight bytes in Envoy's shared data, replaced by compare-and-swap. The bucket's state
//! is one instant, which the generic cell rate algorithm needs ([`RateLimit`]).

mod buckets;
mod gcra;
mod quota;
mod shared_data;
#[cfg(test)]
mod tests;

pub use buckets::{ADDRESS_BUCKETS, address_bucket, client_bucket, create_buckets};
pub use gcra::RateLimit;
pub use quota::{Exhausted, Quota};
pub use shared_data::{SharedData, SharedValue};
