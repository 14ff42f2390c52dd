//! The programs that the tests need beside Rust, Python and Node: found, or installed, in seconds before any build.

mod install;
mod need;

pub use install::{InstallArgs, prepare};
pub use need::Part;
