//! The command line of `codex-edge`.
//! Each subcommand is a module of the library.

use std::process::ExitCode;

use anyhow::Result;
use clap::Parser;
use codex_edge::installed::Installed;
use codex_edge::key::KeyArgs;
use codex_edge::up::UpArgs;
use codex_edge::{check, key, report, up};

/// Serve the Codex CLI as an OpenAI-compatible API behind Envoy
#[derive(Debug, Parser)]
#[command(name = "codex-edge", version)]
enum Command {
    /// Start the stack, print how to use it, and follow its logs until Ctrl-C
    Up(UpArgs),
    /// Check the needs of `up`, one line each with the remedy, without starting anything
    Check(UpArgs),
    /// Make API keys, and list and disable those of a filter.yaml
    Key(KeyArgs),
}

fn main() -> ExitCode {
    report::exit_code(run(&Command::parse()))
}

fn run(command: &Command) -> Result<ExitCode> {
    match command {
        Command::Up(args) => up::up(args, &Installed::of_this_program()?),
        Command::Check(args) => check::check(args, &Installed::of_this_program()?),
        Command::Key(args) => {
            key::key(args, &Installed::of_this_program()?).map(|()| ExitCode::SUCCESS)
        }
    }
}
