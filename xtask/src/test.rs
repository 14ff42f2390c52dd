//! `cargo xtask test`: installs missing programs, fetches the peers, then runs the style check, the instruction counts and
//! every test, and the core of the tests with Codex twice more: with the oldest Codex that has an app-server, and without
//! warm threads.
//! The runner is `cargo test`, and its summary is the last output of a run.

use std::process::Command;

use anyhow::Result;
use clap::Args;
use codex_edge::report;

use crate::build;
use crate::check::{StyleArgs, style};
use crate::command::{cargo, run};
use crate::counts::{CountsArgs, counts};
use crate::preflight::{self, InstallArgs, Part};
use crate::tools::{Tool, Tools};

/// The integration tests that need neither Envoy nor Codex nor a client.
const FAST: &[&str] = &["filter", "scripted_model", "wasm_host"];

/// The variable that makes the tests run the sidecar with the oldest supported app-server.
pub const OLDEST_CODEX: &str = "CODEX_EDGE_TEST_OLDEST_CODEX";

/// The variable of the sidecar that the tests pass on to it.
pub const WARM_THREADS: &str = "PROXY_WARM_THREADS";

/// The core of the tests with Codex: a test binary and the modules of it that depend on the protocol.
const CORE: &[(&str, &[&str])] = &[
    (
        "sidecar",
        &[
            "chats::chat::",
            "chats::tools::",
            "errors::",
            "login::",
            "models::requests::",
            "plain_home::",
        ],
    ),
    ("end_to_end", &["responses::codex::"]),
];

/// The arguments of `test`.
#[derive(Debug, Args)]
pub struct TestArgs {
    /// Skip tests that need Envoy, Codex, the SDK clients or Valgrind
    #[arg(long)]
    fast: bool,
    /// Stop after the search for missing programs and their installation
    #[arg(long, conflicts_with = "fast")]
    setup_only: bool,
    #[command(flatten)]
    install: InstallArgs,
}

/// Runs every test, also after a failure.
///
/// # Errors
/// When a program is missing, a style figure is outside its limit, a peer cannot be fetched, a test fails, or the
/// instruction count of a hot path differs from the baseline.
pub fn test(args: &TestArgs) -> Result<()> {
    // First, since these take seconds and the tests take minutes.
    if !args.fast {
        preflight::prepare(&args.install)?;
    }
    if args.setup_only {
        report!("every program that the tests need is installed");
        return Ok(());
    }
    style(&StyleArgs::default())?;
    let mut tests = cargo(&["test", "--workspace", "--no-fail-fast"]);
    if args.fast {
        tests.args(["--lib", "--bins"]);
        for name in FAST {
            tests.args(["--test", name]);
        }
        return run(&mut tests);
    }
    let tested = test_all(tests, &args.install.without);
    // The last line, so that a run without some parts is not taken for a whole one.
    if let Some(left_out) = args.install.left_out() {
        report!("{left_out}");
    }
    tested
}

/// Runs all tests but those of the parts `left_out`.
fn test_all(mut tests: Command, left_out: &[Part]) -> Result<()> {
    let tools = Tools::open();
    tools.fetch(&Tool::of_tests())?;
    tools.fetch_clients()?;
    // The end-to-end tests start these; `cargo test` builds them only where a package tests its own.
    build::programs_of_tests()?;
    // A changed count is reported after the tests, so that one run shows both.
    let counted = if left_out.contains(&Part::Valgrind) {
        Ok(())
    } else {
        counts(&CountsArgs::default())
    };
    tests.arg("--");
    for (_binary, path) in left_out.iter().flat_map(|part| part.tests()) {
        tests.args(["--skip", path]);
    }
    let tested = run(tests.env("CODEX_EDGE_TOOLS", tools.dir()));
    let oldest = format!("Codex {}", Tool::CodexOldest.version()?);
    let with_oldest = core_with(&oldest, OLDEST_CODEX, "1", &tools);
    let without_threads = core_with("no warm threads", WARM_THREADS, "0", &tools);
    tested.and(with_oldest).and(without_threads).and(counted)
}

/// Runs [`CORE`] with `variable` in the environment, also after a failure.
fn core_with(title: &str, variable: &str, value: &str, tools: &Tools) -> Result<()> {
    let mut result = Ok(());
    for (binary, modules) in CORE {
        report!("running the core of {binary} with {title}");
        // The packages of the first run: with others, their dependencies would be built again with other features.
        let mut tests = cargo(&["test", "--workspace", "--test", binary, "--"]);
        tests.args(*modules).env(variable, value);
        result = result.and(run(tests.env("CODEX_EDGE_TOOLS", tools.dir())));
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workspace;

    /// A filter that matches no test would pass.
    #[test]
    fn modules_of_the_core_exist() {
        for (binary, modules) in CORE {
            for module in *modules {
                let path = module.trim_end_matches("::").replace("::", "/");
                let module = workspace::root().join(format!("tests/tests/{binary}/{path}"));
                let is_module = module.with_extension("rs").exists() || module.is_dir();
                assert!(is_module, "{}", module.display());
            }
        }
    }
}
