//! Runs other programs to their end. Cargo is here, the rest is shared with `codex-edge`.

use std::process::Command;

pub use codex_edge::command::{bound_to_parent, output, run, write_program};

/// The cargo that runs this process, and so its toolchain, in the root of the workspace.
pub fn cargo(arguments: &[&str]) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command
        .args(arguments)
        .current_dir(crate::workspace::root());
    command
}
