//! The compiled filter in the wasm host: every rule of the filter, offline, as it ships and as cargo builds it, and with
//! both settings of `hold_headers`.
//! Tests compare requests with results; the callbacks and host calls in between are the filter's own.

mod auth;
mod body_limits;
mod config;
mod cors;
mod faults;
mod gateway;
mod in_flight;
mod metrics;
mod models;
mod module;
mod rate_limit;
mod verify;
