//! `cargo xtask dist`: the files of a release for this machine's architecture, without a toolchain on the user's side.

mod archive;
mod bundle;
mod file;
mod images;
mod packages;
mod programs;
mod run;
mod saved_image;
mod sbom;
mod sums;
mod wheel;

pub use run::{DistArgs, dist};
