//! `cargo xtask soak`: mixed traffic with faults, and an account of everything afterwards.
//! The soak itself is `tests::soak`; its peers are fetched and built as those of `chaos` are.

use anyhow::Result;
use clap::Args;

use crate::chaos::on_the_chain;

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
    let seconds = (args.minutes * 60).to_string();
    on_the_chain("soak", ["--seconds", &seconds], args.seed)
}
