//! `cargo xtask check`: the checks that a change has to pass beside its tests.
//! Formatting, lints, docs, Envoy's own validation, licences and sources of dependencies, digests of images, style.

mod envoy;
mod images;
mod run;
mod style;

pub use run::{CheckArgs, check};
pub(crate) use style::{StyleArgs, style};
