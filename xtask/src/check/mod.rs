//! `cargo xtask check`: what a change has to pass beside its tests.
//! The list is the house rules': formatting, lints, docs, Envoy's own validation, licences and sources.

mod envoy;

use std::process::Command;

use anyhow::{Result, bail};

use crate::command::{cargo, run};
use crate::tools::{Tool, Tools};
use crate::workspace;

/// What cargo itself checks: a name, and the words after `cargo`.
const CARGO: &[(&str, &str)] = &[
    ("formatting", "fmt --all --check"),
    ("lints", "clippy --workspace --all-targets -- -D warnings"),
    (
        "lints of the filter as wasm",
        "clippy -p filter --target wasm32-wasip1 -- -D warnings",
    ),
    ("docs", "doc --workspace --no-deps --document-private-items"),
];

/// Runs every check, and names those that failed.
///
/// # Errors
/// When a tool cannot be fetched, or a check fails.
pub fn check() -> Result<()> {
    let tools = Tools::open();
    tools.fetch(&[Tool::Envoy, Tool::CargoDeny])?;
    let mut failed = Vec::new();
    let mut check = |name: &'static str, run: &dyn Fn() -> Result<()>| {
        eprintln!("checking {name}");
        if let Err(error) = run() {
            eprintln!("{error:#}");
            failed.push(name);
        }
    };
    for (name, words) in CARGO {
        check(name, &|| by_cargo(words));
    }
    check("Envoy's configuration", &|| envoy::configuration(&tools));
    check("dependencies", &|| dependencies(&tools));
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn by_cargo(words: &str) -> Result<()> {
    let words: Vec<_> = words.split(' ').collect();
    run(cargo(&words).env("RUSTDOCFLAGS", "-D warnings"))
}

fn dependencies(tools: &Tools) -> Result<()> {
    let mut deny = Command::new(tools.executable(Tool::CargoDeny)?);
    deny.args(["check", "bans", "licenses", "sources"]);
    run(deny.current_dir(workspace::root()))
}
