//! Builds the parts of the stack, each with the profile that it ships with.

mod cargo;
mod exports;

pub use cargo::{
    FilterArgs, add_target, build_filter, filter, filter_build, programs_of_tests, scripted_model,
    ship_filter, sidecar,
};
pub use exports::{CALLBACKS, drop_default_callbacks};
