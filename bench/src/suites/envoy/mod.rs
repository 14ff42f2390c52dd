//! The cost of the filter in Envoy, compared with no filter, Envoy's native filters, and Lua with the same decisions.
//!
//! All variants run the shipped configuration, except for the HTTP filter.

mod instructions;
mod request_case;
mod suite;
mod throughput;
mod upstream;
mod variant;

pub(super) use suite::run;
pub(super) use upstream::Upstream;
