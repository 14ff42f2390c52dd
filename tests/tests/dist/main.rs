//! The files of a release, built, installed and used as the release workflow and a user do: with pip and the package
//! registries, without a compiler. The programs are debug builds: `cargo xtask dist` itself fails for a released program that
//! is not static.

mod files;
mod publish;
mod release;
mod stack;
mod wheel;
mod workflow;
