//! A limit that several Envoys share: a rate limit service counts the requests that start a turn, by the client id that
//! the filter set. Follows `deploy/ratelimit/`.

mod counting;
mod fleet;
mod unavailable;
