//! `cargo xtask fuzz`: runs the targets of `fuzz/` under libFuzzer, built by the pinned compiler.
//! The flags follow libFuzzer's documentation, section "Building". The pinned compiler has LLVM's coverage pass and
//! AddressSanitizer, so neither cargo-fuzz nor a nightly compiler is needed, only a C++ compiler.

use std::env::consts::ARCH;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;
use codex_edge::report;

use crate::command::{cargo, run};
use crate::workspace;

/// Coverage instrumentation for libFuzzer, and AddressSanitizer for the unsafe code of dependencies.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Zsanitizer=address";

/// Makes a stable compiler accept flags that begin with `-Z`.
const ACCEPT_UNSTABLE: (&str, &str) = ("RUSTC_BOOTSTRAP", "1");

/// The arguments of `fuzz`.
#[derive(Debug, Args)]
pub struct FuzzArgs {
    /// Targets to fuzz, by the names of the folders in fuzz/seeds; all by default
    targets: Vec<String>,
    /// Time for each target in seconds
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Fuzzes one target after the other, and stops at the first finding.
///
/// # Errors
/// When a target is unknown, does not compile, or fails on an input, which is then in `fuzz/artifacts`.
pub fn fuzz(args: &FuzzArgs) -> Result<()> {
    let fuzz = workspace::root().join("fuzz");
    let all = targets(&fuzz.join("seeds"))?;
    for name in &args.targets {
        ensure!(
            all.contains(name),
            "unknown target {name}; the targets are {}",
            all.join(", ")
        );
    }
    let chosen = if args.targets.is_empty() {
        &all
    } else {
        &args.targets
    };
    let target = format!("{ARCH}-unknown-linux-gnu");
    let target_dir = workspace::target_dir().join("fuzz");
    // With `--target`, cargo builds build scripts and macros without RUSTFLAGS.
    let mut build = cargo(&[
        "build",
        "-p",
        "fuzz",
        "--features",
        "libfuzzer",
        "--profile",
        "fuzz",
    ]);
    build
        .args(["--target", &target])
        .arg("--target-dir")
        .arg(&target_dir);
    build.env("RUSTFLAGS", FLAGS).envs([ACCEPT_UNSTABLE]);
    run(&mut build)?;
    let program = target_dir.join(target).join("fuzz/fuzz");
    chosen
        .iter()
        .try_for_each(|name| fuzz_target(&program, name, args.seconds, &fuzz))
}

/// The names of the targets, which are the folders of `seeds`.
fn targets(seeds: &Path) -> Result<Vec<String>> {
    let folders = fs::read_dir(seeds).context("cannot list the seeds")?;
    let name = |folder: std::io::Result<fs::DirEntry>| {
        Ok(folder?.file_name().to_string_lossy().into_owned())
    };
    let mut names = folders.map(name).collect::<Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

/// Runs one target; libFuzzer adds new inputs to the first of its folders.
fn fuzz_target(program: &Path, name: &str, seconds: u64, fuzz: &Path) -> Result<()> {
    let corpus = fuzz.join("corpus").join(name);
    let artifacts = fuzz.join("artifacts").join(name);
    for folder in [&corpus, &artifacts] {
        fs::create_dir_all(folder).context("cannot create a folder of the corpus")?;
    }
    report!("fuzzing {name}");
    let mut fuzzer = Command::new(program);
    fuzzer
        .env("FUZZ_TARGET", name)
        .args([corpus, fuzz.join("seeds").join(name)])
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-max_total_time={seconds}"))
        // An input that takes seconds is a finding too.
        .args([
            "-timeout=10",
            "-max_len=65536",
            "-print_final_stats=1",
            "-verbosity=0",
        ]);
    run(&mut fuzzer)
}
