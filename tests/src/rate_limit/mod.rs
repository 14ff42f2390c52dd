//! A rate limit service for tests of `deploy/ratelimit`: `envoy.service.ratelimit.v3`, as envoyproxy/ratelimit serves it.
//! It counts in memory, or in Redis where several replicas share the counts.

mod counts;
mod limits;
mod service;

pub use counts::Counts;
pub use service::RateLimitService;
