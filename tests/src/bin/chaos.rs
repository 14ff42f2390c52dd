//! The chaos run as a program, started by `cargo xtask chaos`.
//! The docs of `tests::chaos` describe it.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;

/// Inject random faults into the whole chain under load, and fail if an invariant is violated
#[derive(Debug, Parser)]
struct Flags {
    /// Number of faults
    #[arg(long, default_value_t = 200)]
    kills: usize,
    /// Seed of the faults and of the clients' requests [default: random]
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> io::Result<ExitCode> {
    let flags = Flags::parse();
    let seed = flags.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    writeln!(io::stderr(), "{} kills, seed {seed}", flags.kills)?;
    tests::chaos::run(flags.kills, seed).await.print_summary()
}
