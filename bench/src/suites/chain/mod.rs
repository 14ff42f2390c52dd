//! The whole chain: Envoy, filter, sidecar and a child.
//!
//! With the real Codex, which shows the process that exhausts the machine; and with the instant child, which shows the cost
//! of the gateway alone, in the units in which other gateways publish theirs.

mod instant_child;
mod real_codex;
mod suite;

pub(super) use suite::run;
