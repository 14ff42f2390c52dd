//! Cargo builds, and the step that makes the shipped filter of cargo's.
//! Cargo decides what is up to date; the profiles are in the workspace's `Cargo.toml`.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{self, Command};

use anyhow::{Context, Result};
use clap::Args;
use codex_edge::report;

use super::exports::drop_default_callbacks;
use crate::command::{cargo, output, run};
use crate::workspace;

const WASM_TARGET: &str = "wasm32-wasip1";

/// Set to `all` to ship the filter with every export, as cargo builds it: for a comparison of instruction counts.
const EXPORTS: &str = "FILTER_EXPORTS";

/// The arguments of `cargo xtask filter`.
#[derive(Debug, Args)]
pub struct FilterArgs {
    /// Copy of the filter to write
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Builds the filter as it ships and prints its path.
///
/// # Errors
/// When the filter does not compile or a file cannot be written.
pub fn build_filter(args: &FilterArgs) -> Result<()> {
    filter()?;
    let wasm = workspace::filter_wasm();
    match &args.out {
        None => report!("{}", wasm.display()),
        Some(out) => {
            let out = workspace::absolute(out.clone());
            let parent = out.parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(parent)?;
            fs::copy(wasm, &out).with_context(|| format!("cannot write {}", out.display()))?;
        }
    }
    Ok(())
}

/// Builds the filter as it ships; adds the compiler's target first if it is missing.
///
/// # Errors
/// When the target cannot be added, the filter does not compile, or a file cannot be written.
pub fn filter() -> Result<()> {
    add_target(WASM_TARGET)?;
    report!("building the filter");
    run(&mut filter_build())?;
    ship_filter()
}

/// The command that compiles the filter to a module. The manifest names no `cdylib`: cargo would then write the rlib, which
/// `sidecar` links, to a path without a hash, and builds with different features would overwrite each other's.
pub fn filter_build() -> Command {
    let mut build = cargo(&["rustc", "-p", "filter", "--lib", "--crate-type", "cdylib"]);
    build.args(["--target", WASM_TARGET, "--profile", "wasm"]);
    build
}

/// Makes the shipped filter of the one that cargo has built.
///
/// # Errors
/// When the built filter cannot be read or is not a wasm module, or the shipped one cannot be written.
pub fn ship_filter() -> Result<()> {
    let (built, shipped) = (workspace::built_filter_wasm(), workspace::filter_wasm());
    let wasm = fs::read(&built).with_context(|| format!("cannot read {}", built.display()))?;
    let wasm = match env::var(EXPORTS).as_deref() {
        Ok("all") => wasm,
        _ => drop_default_callbacks(&wasm)?,
    };
    write_atomically(&shipped, &wasm).with_context(|| format!("cannot write {}", shipped.display()))
}

/// Replaces a file by renaming a new one, so that a test that runs beside this never reads half of it.
fn write_atomically(path: &Path, content: &[u8]) -> std::io::Result<()> {
    if let Some(parent) = path.parent() {
        fs::create_dir_all(parent)?;
    }
    let new = path.with_extension(format!("{}.new", process::id()));
    fs::write(&new, content)?;
    fs::rename(new, path)
}

/// Builds the sidecar for release.
///
/// # Errors
/// When it does not compile.
pub fn sidecar() -> Result<()> {
    report!("building the sidecar");
    run(&mut cargo(&["build", "--release", "-p", "sidecar"]))
}

/// Builds the scripted model, without the wasm engine that its package has for tests.
///
/// # Errors
/// When it does not compile.
pub fn scripted_model() -> Result<()> {
    report!("building the scripted model");
    let mut build = cargo(&["build", "--release", "-p", "tests"]);
    run(build.args(["--no-default-features", "--bin", "scripted-model"]))
}

/// Builds the programs that tests start, as cargo's debug builds. One command, so that their packages are built with the same
/// features each time.
///
/// # Errors
/// When one does not compile.
pub fn programs_of_tests() -> Result<()> {
    let mut build = cargo(&["build", "--locked", "--bins"]);
    for package in ["codex-edge", "sidecar", "tests"] {
        build.args(["--package", package]);
    }
    run(&mut build)
}

/// Adds a target of the compiler if it is missing.
///
/// # Errors
/// When the target cannot be added.
pub fn add_target(target: &str) -> Result<()> {
    let mut rustc = Command::new("rustc");
    rustc.args(["--print", "target-libdir", "--target", target]);
    let libraries = output(rustc.current_dir(workspace::root()))?;
    if Path::new(libraries.trim()).is_dir() {
        return Ok(());
    }
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", target]);
    run(rustup.current_dir(workspace::root()))
        .with_context(|| format!("the compiler lacks the target {target}"))
}
