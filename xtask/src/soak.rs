//! `cargo xtask soak`: mixed traffic with faults, and an account of everything afterwards.
//! The soak itself is `tests::soak`; here its peers are fetched and built first.

use anyhow::Result;
use clap::Args;

use crate::build;
use crate::command::{cargo, run};
use crate::tools::{Tool, Tools};

/// What `soak` is told on the command line.
#[derive(Debug, Args)]
pub struct SoakArgs {
    /// For how long
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// Decides what clients ask and which faults they meet; a random one by default
    #[arg(long)]
    seed: Option<u64>,
}

/// Soaks the chain and prints what was seen.
///
/// # Errors
/// When a peer cannot be fetched or built, or something is not accounted for; the table before it says what.
pub fn soak(args: &SoakArgs) -> Result<()> {
    let tools = Tools::open();
    tools.fetch(&[Tool::Envoy, Tool::Codex])?;
    build::filter()?;
    run(&mut cargo(&["build", "-p", "sidecar"]))?;
    let seconds = (args.minutes * 60).to_string();
    let mut soak = cargo(&["run", "--quiet", "-p", "tests", "--no-default-features"]);
    soak.args(["--bin", "soak", "--", "--seconds", &seconds]);
    if let Some(seed) = args.seed {
        soak.args(["--seed", &seed.to_string()]);
    }
    run(soak.env("CODEX_EDGE_TOOLS", tools.dir()))
}
