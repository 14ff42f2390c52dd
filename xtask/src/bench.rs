//! `cargo xtask bench`: what each part costs, side by side with what it is compared with.
//! The measuring itself is the member `bench`; here its peers are fetched and built first, for release.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use clap::Args;

use crate::command::{cargo, output, run};
use crate::tools::{Tool, Tools};
use crate::{build, workspace};

/// What `bench` is told on the command line.
#[derive(Debug, Args)]
pub struct BenchArgs {
    /// One of envoy, sidecar, codex, chain, overload, peers; several may be named, all are run by default
    #[arg(long)]
    only: Vec<String>,
    /// A smoke run: the numbers mean nothing
    #[arg(long)]
    quick: bool,
    /// Rounds of which medians are taken
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Count Envoy's instructions too, which needs valgrind and takes minutes
    #[arg(long)]
    instructions: bool,
    /// Bring docs/performance.md and its plots up to date
    #[arg(long)]
    docs: bool,
    /// The Python that the peers get, 3.12 or newer
    #[arg(long, value_name = "PROGRAM", default_value = "python3")]
    python: PathBuf,
}

/// Runs the benchmarks, prints their tables, and leaves them in `bench-results/`.
///
/// # Errors
/// When a peer cannot be fetched or built, or an answer was not what it should be.
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
    if args.only.is_empty() || args.only.iter().any(|suite| suite == "peers") {
        bench.arg("--peers").arg(peers(tools.dir(), &args.python)?);
    }
    run(&mut bench)
}

/// The Python of an environment with the pinned peers; a copy of their list in it says that it is complete.
fn peers(tools: &Path, python: &Path) -> Result<PathBuf> {
    let requirements = workspace::root().join("bench/peers/requirements.txt");
    let wanted = fs::read(&requirements)?;
    let dir = tools.join("bench-peers");
    let own = dir.join("bin/python");
    let installed = dir.join("requirements.txt");
    if fs::read(&installed).is_ok_and(|installed| installed == wanted) {
        return Ok(own);
    }
    eprintln!("installing the peers");
    output(
        Command::new(python)
            .args(["-m", "venv", "--clear"])
            .arg(&dir),
    )?;
    let mut pip = Command::new(&own);
    pip.args(["-m", "pip", "install", "--quiet", "--require-hashes"]);
    pip.args(["--only-binary", ":all:", "-r"])
        .arg(&requirements);
    output(&mut pip).context("cannot install the peers; they need Python 3.12 (--python)")?;
    fs::write(installed, wanted)?;
    Ok(own)
}
