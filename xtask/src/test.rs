//! `cargo xtask test`: fetches the peers, then runs the style check, the instruction counts and every test.
//! The runner is `cargo test`, and its summary is the last output of a run.

use anyhow::Result;
use clap::Args;

use crate::check::{StyleArgs, style};
use crate::command::{cargo, run};
use crate::counts::{CountsArgs, counts};
use crate::tools::{Tool, Tools};

/// The integration tests that need neither Envoy nor Codex nor a client.
const FAST: &[&str] = &["filter", "scripted_model", "wasm_host"];

/// The arguments of `test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Skip tests that need Envoy, Codex, the SDK clients or Valgrind
    #[arg(long)]
    fast: bool,
}

/// Runs every test, also after a failure.
///
/// # Errors
/// When a style figure is outside its limit, a peer cannot be fetched, a test fails, or the instruction count of a hot path
/// differs from the baseline.
pub fn test(args: &TestArgs) -> Result<()> {
    // First, since the check takes seconds and the tests take minutes.
    style(&StyleArgs::default())?;
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
    // A changed count is reported after the tests, so that one run shows both.
    let counted = counts(&CountsArgs::default());
    run(tests.env("CODEX_EDGE_TOOLS", tools.dir()))?;
    counted
}
