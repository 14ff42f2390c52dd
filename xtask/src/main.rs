//! The command line of `cargo xtask`.
//! Each subcommand is a module of the library.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use codex_edge::report;
use xtask::bench::BenchArgs;
use xtask::build::FilterArgs;
use xtask::check::CheckArgs;
use xtask::counts::CountsArgs;
use xtask::dist::DistArgs;
use xtask::fuzz::FuzzArgs;
use xtask::image::ImageArgs;
use xtask::stress::{ChaosArgs, SoakArgs};
use xtask::test::TestArgs;
use xtask::tools::{Tool, Tools};
use xtask::up::UpArgs;

/// Fetch, build, start, test and check codex-edge
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask")]
enum Command {
    /// Start the stack, print how to use it, and follow its logs until Ctrl-C
    Up(UpArgs),
    /// Run every test, against real Envoy and real Codex
    Test(TestArgs),
    /// Kill random processes of the stack under load, and check for lost turns and leftovers
    Chaos(ChaosArgs),
    /// Run mixed traffic with faults over the stack, and account for every turn afterwards
    Soak(SoakArgs),
    /// Build the filter as it ships: without the callbacks that it does not implement
    Filter(FilterArgs),
    /// Write the filter as an OCI image, for Istio and Envoy Gateway
    Image(ImageArgs),
    /// Build the files of a release: static programs, the filter, a Python wheel, sums and bills of materials
    Dist(DistArgs),
    /// Count the instructions of the hot paths and compare them with the baseline
    Counts(CountsArgs),
    /// Fuzz every parser of external input under libFuzzer
    Fuzz(FuzzArgs),
    /// Benchmark the chain, its parts and comparable proxies
    Bench(BenchArgs),
    /// Check formatting, lints, docs, Envoy's configuration, dependencies and style
    Check(CheckArgs),
    /// Fetch the pinned tools and clients
    Fetch,
    /// Ask the package registries for newer releases of the pinned tools
    Pins,
}

fn main() -> ExitCode {
    report::exit_code(run(&Command::parse()))
}

fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Up(args) => return xtask::up::up(args),
        Command::Test(args) => xtask::test::test(args)?,
        Command::Chaos(args) => xtask::stress::chaos(args)?,
        Command::Soak(args) => xtask::stress::soak(args)?,
        Command::Filter(args) => xtask::build::build_filter(args)?,
        Command::Image(args) => xtask::image::image(args)?,
        Command::Dist(args) => xtask::dist::dist(args)?,
        Command::Counts(args) => xtask::counts::counts(args)?,
        Command::Fuzz(args) => xtask::fuzz::fuzz(args)?,
        Command::Bench(args) => xtask::bench::bench(args)?,
        Command::Check(args) => xtask::check::check(args)?,
        Command::Pins => xtask::tools::report_newer()?,
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
