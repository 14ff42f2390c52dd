//! One limit for many Envoys: what starts a turn is counted by a rate limit service, under the id that the filter set.
//! Follows `deploy/ratelimit/`.

mod compose;
mod counting;
mod fleet;
mod limits;
mod service;
mod unavailable;
