//! The soak as a program, started by `cargo xtask soak`.
//! The docs of `tests::soak` describe it.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;

/// Run mixed traffic with faults through the whole chain, and fail if a request, record or counter does not match
#[derive(Debug, Parser)]
struct Flags {
    /// Duration in seconds
    #[arg(long)]
    seconds: u64,
    /// Seed of the clients' requests and of the faults [default: random]
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
        .print_summary()
}
