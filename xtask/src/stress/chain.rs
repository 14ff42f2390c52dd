//! Fetches and builds Envoy, the filter, the sidecar and Codex for a stress program of the member `tests`.

use anyhow::Result;

use crate::build;
use crate::command::{cargo, run};
use crate::tools::{Tool, Tools};

/// Prepares the chain, and runs `program` of `tests` with the flag `amount` and the seed.
///
/// # Errors
/// When a peer cannot be fetched or built, or the program fails.
pub(super) fn run_program(program: &str, amount: [&str; 2], seed: Option<u64>) -> Result<()> {
    let tools = Tools::open();
    tools.fetch(&[Tool::Envoy, Tool::Codex])?;
    build::filter()?;
    // `cargo run` below builds the binaries of `tests` only.
    run(&mut cargo(&["build", "-p", "sidecar"]))?;
    let mut command = cargo(&["run", "--quiet", "-p", "tests", "--no-default-features"]);
    command.args(["--bin", program, "--"]).args(amount);
    if let Some(seed) = seed {
        command.args(["--seed", &seed.to_string()]);
    }
    run(command.env("CODEX_EDGE_TOOLS", tools.dir()))
}
