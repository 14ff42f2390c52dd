//! `cargo xtask bench`: the cost of each part of the chain, compared with alternatives.
//!
//! This module fetches the peers and builds them for release; the member `bench` measures.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;
use codex_edge::report;

use crate::command::{cargo, output, run};
use crate::tools::{Tool, Tools};
use crate::{build, workspace};

/// The pinned peers, and the folder of their environment among the tools.
const REQUIREMENTS: &str = "bench/peers/requirements.txt";
const PEERS: &str = "bench-peers";

/// Command line of `bench`.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// Suite to run: envoy, sidecar, tracing, codex, chain, conversations, overload, abuse, budgets or peers; may be repeated [default: all]
    #[arg(long)]
    only: Vec<String>,
    /// Smoke test with little load; the numbers are meaningless
    #[arg(long)]
    quick: bool,
    /// Number of rounds; tables have the medians
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Count Envoy's instructions too; needs Valgrind and takes minutes
    #[arg(long)]
    instructions: bool,
    /// Update docs/performance.md and its plots
    #[arg(long)]
    docs: bool,
    /// Python interpreter for the peers, 3.12 or newer
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: PathBuf,
}

/// Runs the benchmarks, prints their tables, and writes the results to `bench-results/`.
///
/// # Errors
/// When a peer cannot be fetched or built, or a response is not the expected one.
pub fn bench(args: &BenchArgs) -> Result<()> {
    let tools = Tools::open();
    tools.fetch(&[Tool::Envoy, Tool::Codex])?;
    build::filter()?;
    build::sidecar()?;
    run(&mut cargo(&["build", "--release", "-p", "bench"]))?;
    let mut bench = Command::new(workspace::release_binary("bench"));
    bench
        .current_dir(workspace::root())
        .env("CODEX_EDGE_TOOLS", tools.dir())
        .arg("--sidecar")
        .arg(workspace::release_binary("sidecar"))
        .args(["--rounds", &args.rounds.to_string()])
        .args(args.only.iter().flat_map(|suite| ["--only", suite]));
    for (flag, is_set) in [
        ("--quick", args.quick),
        ("--instructions", args.instructions),
        ("--docs", args.docs),
    ] {
        bench.args(is_set.then_some(flag));
    }
    let peers = if args.only.is_empty() || args.only.iter().any(|suite| suite == "peers") {
        Some(install_peers(tools.dir(), &args.python)?)
    } else {
        // Another suite that compares peers does without them.
        installed_peers(tools.dir())?
    };
    if let Some(python) = peers {
        bench.arg("--peers").arg(python);
    }
    run(&mut bench)
}

/// Returns the Python interpreter of the environment with the pinned peers, if it exists.
fn installed_peers(tools: &Path) -> Result<Option<PathBuf>> {
    let pinned = fs::read(workspace::root().join(REQUIREMENTS))?;
    let dir = tools.join(PEERS);
    // Written last: a copy of the pinned list marks the environment as complete.
    let is_complete =
        fs::read(dir.join("requirements.txt")).is_ok_and(|installed| installed == pinned);
    Ok(is_complete.then(|| dir.join("bin/python")))
}

/// Returns the Python interpreter of an environment with the pinned peers, and creates the environment if necessary.
fn install_peers(tools: &Path, python: &Path) -> Result<PathBuf> {
    if let Some(installed) = installed_peers(tools)? {
        return Ok(installed);
    }
    let requirements = workspace::root().join(REQUIREMENTS);
    let dir = tools.join(PEERS);
    let own = dir.join("bin/python");
    report!("installing the peers");
    output(
        Command::new(python)
            .args(["-m", "venv", "--clear"])
            .arg(&dir),
    )?;
    output(
        Command::new(&own)
            // The file lists every dependency.
            .args(["-m", "pip", "install", "--quiet", "--no-deps"])
            .arg("--require-hashes")
            // Without builds from source, which would run code that the hashes do not cover.
            .args(["--only-binary", ":all:", "-r"])
            .arg(&requirements),
    )
    .context("cannot install the peers, which need Python 3.12 or newer (--python)")?;
    fs::copy(requirements, dir.join("requirements.txt"))?;
    Ok(own)
}
