//! Token buckets in the data that all workers of an Envoy share.

mod gcra;
#[cfg(test)]
mod tests;

pub use gcra::{
    Entry, Exhausted, Limit, Quota, STRANGER_SLOTS, SharedData, address_bucket, client_bucket,
    create_buckets,
};
