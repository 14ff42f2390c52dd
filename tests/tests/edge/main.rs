//! The edge as it ships: real Envoy, `envoy/envoy.yaml`, the compiled filter, and an upstream that keeps what it gets.
//! Each hardening line of `envoy.yaml` has a test here that fails without it; numbers are turned down where a test
//! would wait for them.

mod access_log;
mod admin;
mod bodies;
mod buffers;
mod connections;
mod cors;
mod error_shapes;
mod forward_auth;
mod headers;
mod key_rotation;
mod keys;
mod malformed;
mod metrics;
mod models;
mod paths;
mod protocols;
mod rate_limit;
mod request_id;
mod retries;
mod shared_limit;
mod smuggling;
mod stack;
mod strangers;
mod streams;
mod timeouts;
mod traps;
mod verify;
