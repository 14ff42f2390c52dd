//! `cargo xtask check`: the checks that a change has to pass beside its tests.
//! Formatting, lints, docs, Envoy's own validation, licences and sources of dependencies, style.

mod envoy;
mod run;
mod style;

pub use run::{CheckArgs, check};
pub(crate) use style::{StyleArgs, style};
