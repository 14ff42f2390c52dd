//! The suites; each starts its own peers and stops them at its end.

mod abuse;
mod budgets;
mod chain;
mod codex;
mod conversations;
mod envoy;
mod overload;
mod peers;
mod real_codex;
mod sidecar;
mod stack;
mod suite;
mod tracing;

pub use suite::Suite;
