//! The README's two commands in a new Debian that has Rust, Python and Node, and nothing else. The Debian is a folder of its own
//! with this workspace and this machine's toolchain, so that nothing is built again.

mod commands;
mod debian;
