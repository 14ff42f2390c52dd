//! `cargo xtask soak`: runs mixed traffic with faults over the chain, and accounts for every turn afterwards.
//! The program is `tests::soak`.

use anyhow::Result;
use clap::Args;

use super::chain;

/// The arguments of `soak`.
#[derive(Debug, Args)]
pub struct SoakArgs {
    /// Duration in minutes
    #[arg(long, default_value_t = 5)]
    minutes: u64,
    /// Seed of the clients' requests and the faults; random by default
    #[arg(long)]
    seed: Option<u64>,
}

/// Soaks the chain, and prints a table of the observations.
///
/// # Errors
/// When a peer cannot be fetched or built, or a record, counter or process does not match the clients' observations; the
/// printed table says which.
pub fn soak(args: &SoakArgs) -> Result<()> {
    let seconds = (args.minutes * 60).to_string();
    chain::run_program("soak", ["--seconds", &seconds], args.seed)
}
