//! The soak as a program: `cargo xtask soak` starts it.
//! What it does is described in the docs of `tests::soak`.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// Has mixed traffic and faults pass over the chain, and fails when something is not accounted for.
#[derive(Debug, Parser)]
struct Flags {
    /// For how long, in seconds.
    #[arg(long)]
    seconds: u64,
    /// Decides what clients ask and which faults they meet; a random one by default.
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> io::Result<ExitCode> {
    let flags = Flags::parse();
    let seed = flags.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    writeln!(io::stderr(), "{} s, seed {seed}", flags.seconds)?;
    tests::soak::run(Duration::from_secs(flags.seconds), seed)
        .await
        .conclude()
}
