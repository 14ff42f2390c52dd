//! The compiled filter in the wasm host: every rule of the filter, offline, in both stop-iteration modes.
//! Requests go in, outcomes come out; which callbacks and host calls lead there is the filter's own business.

mod auth;
mod body_limits;
mod config;
mod cors;
mod failing_calls;
mod fuel;
mod gateway;
mod malformed;
mod metrics;
mod models;
mod rate_limit;
mod traps;
mod verify;
