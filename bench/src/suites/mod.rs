//! The suites, one a question of the contract's section 11.

mod chain;
mod codex;
mod envoy;
mod overload;
mod peers;
mod sidecar;
mod stack;
mod suite;

pub use suite::Suite;
