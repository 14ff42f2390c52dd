//! `cargo xtask chaos` and `cargo xtask soak`: the chain under load, with faults.

mod chain;
mod chaos;
mod soak;

pub use chaos::{ChaosArgs, chaos};
pub use soak::{SoakArgs, soak};
