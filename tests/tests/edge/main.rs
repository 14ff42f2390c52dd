//! The edge as it ships: real Envoy, `envoy/envoy.yaml`, the compiled filter, and an upstream that records its
//! requests. Each hardening line of `envoy.yaml` has a test here that fails without the line. Timeouts and limits are
//! lowered where a test would otherwise have to wait for the shipped value. `oldest_envoy` runs the filter alone.

mod auth;
mod cors;
mod error_shapes;
mod held_bodies;
mod http;
mod messages;
mod models;
mod observability;
mod oldest_envoy;
mod stack;
mod traps;
