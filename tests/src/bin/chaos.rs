//! The storm as a program: `cargo xtask chaos` starts it.
//! What it does is described in the docs of `tests::chaos`.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser;

/// Kills random parts of the chain under load, and fails when a promise was broken.
#[derive(Debug, Parser)]
struct Flags {
    /// How many deaths.
    #[arg(long, default_value_t = 200)]
    kills: usize,
    /// Decides what dies in which order and what the clients ask; a random one by default.
    #[arg(long)]
    seed: Option<u64>,
}

#[tokio::main]
async fn main() -> io::Result<ExitCode> {
    let flags = Flags::parse();
    let seed = flags.seed.unwrap_or_else(|| fastrand::u64(..1 << 32));
    writeln!(io::stderr(), "{} kills, seed {seed}", flags.kills)?;
    tests::chaos::run(flags.kills, seed).await.conclude()
}
