//! The wasm host against the ABI: what a guest reads and writes, and when it is refused.
//! Follows proxy-wasm ABI 0.2.1 and what was seen in Envoy 1.40.

mod data;
mod guest;
mod lifecycle;
mod streams;
