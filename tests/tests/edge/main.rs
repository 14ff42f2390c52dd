//! The edge as it ships: real Envoy, `envoy/envoy.yaml`, the compiled filter, and an upstream that keeps what it gets.
//! Each hardening line of `envoy.yaml` has a test here that fails without it; numbers are turned down where a test
//! would wait for them.

mod auth;
mod cors;
mod error_shapes;
mod http;
mod models;
mod observability;
mod stack;
mod traps;
