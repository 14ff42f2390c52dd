//! The parts of the run, by what they do to the stack.

pub(crate) mod agents;
pub(crate) mod configuration;
pub(crate) mod development;
pub(crate) mod images;
pub(crate) mod neighbours;
pub(crate) mod operators;
pub(crate) mod pod;
pub(crate) mod shared_limit;
pub(crate) mod survival;
pub(crate) mod tracing;
