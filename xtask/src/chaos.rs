//! `cargo xtask chaos`: random deaths under load, and what they leave behind.
//! The storm itself is `tests::chaos`; here its peers are fetched and built first.

use anyhow::Result;
use clap::Args;

use crate::build;
use crate::command::{cargo, run};
use crate::tools::{Tool, Tools};

/// What `chaos` is told on the command line.
#[derive(Debug, Args)]
pub struct ChaosArgs {
    /// How many deaths
    #[arg(long, default_value_t = 200)]
    kills: usize,
    /// Decides what dies in which order and what the clients ask; a random one by default
    #[arg(long)]
    seed: Option<u64>,
}

/// Lets a storm pass over the chain and prints what was seen.
///
/// # Errors
/// When a peer cannot be fetched or built, or a promise was broken; the table before it says which.
pub fn chaos(args: &ChaosArgs) -> Result<()> {
    on_the_chain("chaos", ["--kills", &args.kills.to_string()], args.seed)
}

/// Fetches and builds the peers, and runs a program of `tests` with how much is wanted of it.
pub(crate) fn on_the_chain(program: &str, amount: [&str; 2], seed: Option<u64>) -> Result<()> {
    let tools = Tools::open();
    tools.fetch(&[Tool::Envoy, Tool::Codex])?;
    build::filter()?;
    run(&mut cargo(&["build", "-p", "sidecar"]))?;
    let mut command = cargo(&["run", "--quiet", "-p", "tests", "--no-default-features"]);
    command.args(["--bin", program, "--"]).args(amount);
    if let Some(seed) = seed {
        command.args(["--seed", &seed.to_string()]);
    }
    run(command.env("CODEX_EDGE_TOOLS", tools.dir()))
}
