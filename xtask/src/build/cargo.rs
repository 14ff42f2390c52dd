//! Builds what the stack is made of, each with the profile that it ships with.
//! Cargo decides what is fresh; the profiles are in the workspace's `Cargo.toml`.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::command::{cargo, output, run};

const WASM_TARGET: &str = "wasm32-wasip1";

/// Builds the filter for Envoy, and adds the compiler's target first where it is missing.
///
/// # Errors
/// When the target cannot be added or the filter does not compile.
pub fn filter() -> Result<()> {
    add_wasm_target()?;
    eprintln!("building the filter");
    let mut build = cargo(&["build", "-p", "filter", "--target", WASM_TARGET]);
    run(build.args(["--profile", "wasm"]))
}

/// Builds the sidecar for release.
///
/// # Errors
/// When it does not compile.
pub fn sidecar() -> Result<()> {
    eprintln!("building the sidecar");
    run(&mut cargo(&["build", "--release", "-p", "sidecar"]))
}

/// Builds the scripted model, without the wasm engine that its package has for tests.
///
/// # Errors
/// When it does not compile.
pub fn scripted_model() -> Result<()> {
    eprintln!("building the scripted model");
    let mut build = cargo(&["build", "--release", "-p", "tests"]);
    run(build.args(["--no-default-features", "--bin", "scripted-model"]))
}

fn add_wasm_target() -> Result<()> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", WASM_TARGET]);
    let libraries = output(rustc.current_dir(crate::workspace::root()))?;
    if Path::new(libraries.trim()).is_dir() {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", WASM_TARGET]);
    run(rustup.current_dir(crate::workspace::root()))
        .with_context(|| format!("the compiler lacks the target {WASM_TARGET}"))
}
