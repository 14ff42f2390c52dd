//! The command line of `cargo xtask`.
//! One subcommand a module of the library.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use xtask::bench::BenchArgs;
use xtask::chaos::ChaosArgs;
use xtask::counts::CountsArgs;
use xtask::fuzz::FuzzArgs;
use xtask::image::ImageArgs;
use xtask::soak::SoakArgs;
use xtask::test::TestArgs;
use xtask::tools::{Tool, Tools};
use xtask::up::UpArgs;

/// Fetches, builds, starts, tests and checks codex-edge
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
enum Command {
    /// Start the stack, say how to use it, follow its logs until Ctrl-C
    Up(UpArgs),
    /// Run every test, against the real Envoy and the real Codex
    Test(TestArgs),
    /// Kill random parts of the stack under load, and count what is left behind
    Chaos(ChaosArgs),
    /// Have mixed traffic and faults pass over the stack, and account for everything afterwards
    Soak(SoakArgs),
    /// Write the filter as an OCI image, for Istio and Envoy Gateway
    Image(ImageArgs),
    /// Count the instructions of the hot paths and compare them with the baseline
    Counts(CountsArgs),
    /// Attack every parser that meets the outside with inputs that nobody would send
    Fuzz(FuzzArgs),
    /// Measure the chain and its parts, compared with alternatives
    Bench(BenchArgs),
    /// Check formatting, lints, docs, Envoy's configuration and dependencies
    Check,
    /// Fetch the pinned tools and clients
    Fetch,
}

fn main() -> ExitCode {
    match run(&Command::parse()) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Up(args) => return xtask::up::up(args),
        Command::Test(args) => xtask::test::test(args)?,
        Command::Chaos(args) => xtask::chaos::chaos(args)?,
        Command::Soak(args) => xtask::soak::soak(args)?,
        Command::Image(args) => xtask::image::image(args)?,
        Command::Counts(args) => xtask::counts::counts(args)?,
        Command::Fuzz(args) => xtask::fuzz::fuzz(args)?,
        Command::Bench(args) => xtask::bench::bench(args)?,
        Command::Check => xtask::check::check()?,
        Command::Fetch => {
            let tools = Tools::open();
            tools.fetch(&Tool::of_tests())?;
            tools.fetch(&[Tool::CargoDeny])?;
            tools.fetch_clients()?;
            xtask::counts::install_runner()?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
