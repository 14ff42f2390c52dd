//! `cargo xtask check`: the checks that a change has to pass beside its tests.

use std::process::Command;

use anyhow::{Result, bail};
use clap::{Args, Subcommand};
use codex_edge::report;

use super::style::{self, StyleArgs};
use super::{envoy, images};
use crate::command::{cargo, run};
use crate::tools::{Tool, Tools};
use crate::workspace;

/// The checks that cargo runs: a name, and the words after `cargo`.
const CARGO: &[(&str, &str)] = &[
    ("formatting", "fmt --all --check"),
    ("lints", "clippy --workspace --all-targets -- -D warnings"),
    (
        "lints of the filter as wasm",
        "clippy -p filter --target wasm32-wasip1 -- -D warnings",
    ),
    ("docs", "doc --workspace --no-deps --document-private-items"),
];

/// The arguments of `check`.
#[derive(Debug, Args)]
pub struct CheckArgs {
    #[command(subcommand)]
    only: Option<SingleCheck>,
}

/// A check that can be run alone.
#[derive(Debug, Subcommand)]
enum SingleCheck {
    /// Measure names, prose and layout by the house style, per crate
    Style(StyleArgs),
}

/// Runs one check or every check, and names the checks that failed.
///
/// # Errors
/// When a tool cannot be fetched, or a check fails.
pub fn check(args: &CheckArgs) -> Result<()> {
    match &args.only {
        Some(SingleCheck::Style(args)) => style::style(args),
        None => check_all(),
    }
}

fn check_all() -> Result<()> {
    let tools = Tools::open();
    tools.fetch(&[Tool::Envoy, Tool::CargoDeny])?;
    let mut failed = Vec::new();
    let mut check = |name: &'static str, run: &dyn Fn() -> Result<()>| {
        report!("checking {name}");
        if let Err(error) = run() {
            report!("{error:#}");
            failed.push(name);
        }
    };
    for (name, words) in CARGO {
        check(name, &|| by_cargo(words));
    }
    check("Envoy's configuration", &|| envoy::configuration(&tools));
    check("dependencies", &|| dependencies(&tools));
    check("digests of images", &images::images);
    // The table comes last, so that a failure of another check stays visible above a short output.
    check("style", &|| style::style(&StyleArgs::default()));
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
