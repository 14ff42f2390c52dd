//! The compiled filter and its instances.

mod instance;
mod module;

pub(super) use instance::Vm;
pub use instance::{StartError, Trap};
pub use module::FilterModule;
