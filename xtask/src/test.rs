//! `cargo xtask test`: every test of the workspace, with its peers fetched first, and the instruction counts.
//! The runner is `cargo test`, whose closing lines stay the last that a run prints.

use anyhow::Result;
use clap::Args;

use crate::command::{cargo, run};
use crate::counts::{CountsArgs, counts};
use crate::tools::{Tool, Tools};

/// The integration tests that need neither Envoy nor Codex nor a client.
const FAST: &[&str] = &["filter", "scripted_model", "wasm_host"];

/// What `test` is told on the command line.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Leave out what needs Envoy, Codex, the SDK clients or Valgrind
    #[arg(long)]
    fast: bool,
}

/// Runs the tests, all of them even when one fails.
///
/// # Errors
/// When a peer cannot be fetched, a test fails, or an instruction count differs from the baseline.
pub fn test(args: &TestArgs) -> Result<()> {
    let mut tests = cargo(&["test", "--workspace", "--no-fail-fast"]);
    if args.fast {
        tests.args(["--lib", "--bins"]);
        for name in FAST {
            tests.args(["--test", name]);
        }
        return run(&mut tests);
    }
    let tools = Tools::open();
    tools.fetch(&Tool::of_tests())?;
    tools.fetch_clients()?;
    // The end-to-end tests start these; `cargo test` builds them only where a package tests its own.
    run(&mut cargo(&[
        "build", "-p", "sidecar", "-p", "tests", "--bins",
    ]))?;
    // Reported after the tests, which run even when a count has changed.
    let counted = counts(&CountsArgs::default());
    run(tests.env("CODEX_EDGE_TOOLS", tools.dir()))?;
    counted
}
