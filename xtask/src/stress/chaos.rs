//! `cargo xtask chaos`: kills random processes of the chain under load, and checks the state afterwards.
//! The program is `tests::chaos`.

use anyhow::Result;
use clap::Args;

use super::chain;

/// The arguments of `chaos`.
#[derive(Debug, Args)]
pub struct ChaosArgs {
    /// Number of processes to kill
    #[arg(long, default_value_t = 200)]
    kills: usize,
    /// Seed of the victims, their order and the clients' requests; random by default
    #[arg(long)]
    seed: Option<u64>,
}

/// Kills processes of the chain under load, and prints a table of the observations.
///
/// # Errors
/// When a peer cannot be fetched or built, or a guarantee was violated; the printed table says which.
pub fn chaos(args: &ChaosArgs) -> Result<()> {
    chain::run_program("chaos", ["--kills", &args.kills.to_string()], args.seed)
}
