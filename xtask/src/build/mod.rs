//! Builds what the stack is made of, each with the profile that it ships with.

mod cargo;

pub use cargo::{filter, scripted_model, sidecar};
