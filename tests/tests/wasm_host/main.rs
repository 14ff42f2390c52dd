//! The wasm host, tested with hand-written guests.
//! Follows the proxy-wasm ABI 0.2.1 and the behaviour of Envoy 1.40.

mod data;
mod guest;
mod lifecycle;
mod streams;
