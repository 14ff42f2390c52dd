//! The repository's own tool, `cargo xtask`: fetches, builds, starts, tests and checks; it has no product logic.
//! The end-to-end tests use [`tools`] and [`envoy_config`], so that they run what `up` runs.

pub mod bench;
pub mod build;
pub mod chaos;
pub mod check;
pub mod command;
pub mod counts;
pub mod envoy_config;
pub mod fuzz;
pub mod image;
pub mod soak;
pub mod test;
pub mod tools;
pub mod up;
pub mod workspace;
