//! `cargo xtask`: fetches, builds, starts, tests and checks the repository, without product logic.
//! The end-to-end tests use [`tools`] and [`envoy_config`], so that `up` and the tests run the same programs.

#![deny(clippy::print_stderr)]

pub mod bench;
pub mod build;
pub mod check;
pub mod command;
pub mod counts;
pub mod dist;
pub mod fuzz;
pub mod image;
mod oci;
pub mod preflight;
pub mod stress;
pub mod test;
pub mod tools;
pub mod up;
pub mod workspace;

pub use codex_edge::envoy_config;
