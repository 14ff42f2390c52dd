//! `cargo xtask fuzz`: the targets of `fuzz/` under libFuzzer, built by the pinned compiler.
//! The flags are those of libFuzzer's own page ("Building"); the pinned compiler has LLVM's coverage pass and
//! AddressSanitizer, so that neither a nightly one nor cargo-fuzz is needed, but a C++ compiler is.

use std::env::consts::ARCH;
use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, ensure};
use clap::Args;

use crate::command::{cargo, run};
use crate::workspace;

/// What tells libFuzzer where an input has led, and finds what dependencies do wrong in unsafe code.
const FLAGS: &str = "-Cpasses=sancov-module -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares -Ccodegen-units=1 -Zsanitizer=address";

/// Has a stable compiler take flags that begin with `-Z`.
const TAKE_UNSTABLE: (&str, &str) = ("RUSTC_BOOTSTRAP", "1");

/// What `fuzz` is told on the command line.
#[derive(Debug, Args)]
pub struct FuzzArgs {
    /// What to attack, by the names of the folders in fuzz/seeds; everything by default
    targets: Vec<String>,
    /// How long each of them is attacked
    #[arg(long, default_value_t = 60)]
    seconds: u64,
}

/// Attacks one target after the other, and stops at the first finding.
///
/// # Errors
/// When there is no such target, it does not compile, or a fault was found; the input is then in `fuzz/artifacts`.
pub fn fuzz(args: &FuzzArgs) -> Result<()> {
    let fuzz = workspace::root().join("fuzz");
    let all = targets(&fuzz.join("seeds"))?;
    for name in &args.targets {
        ensure!(all.contains(name), "{name} is none of {}", all.join(", "));
    }
    let chosen = if args.targets.is_empty() {
        &all
    } else {
        &args.targets
    };
    let target = format!("{ARCH}-unknown-linux-gnu");
    let target_dir = workspace::target_dir().join("fuzz");
    // Build scripts and macros go without the flags, since there is a `--target`.
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
    build.env("RUSTFLAGS", FLAGS).envs([TAKE_UNSTABLE]);
    run(&mut build)?;
    let program = target_dir.join(target).join("fuzz/fuzz");
    chosen
        .iter()
        .try_for_each(|name| attack(&program, name, args.seconds, &fuzz))
}

fn targets(seeds: &Path) -> Result<Vec<String>> {
    let folders = fs::read_dir(seeds).context("cannot list the seeds")?;
    let name = |folder: std::io::Result<fs::DirEntry>| {
        Ok(folder?.file_name().to_string_lossy().into_owned())
    };
    let mut names = folders.map(name).collect::<Result<Vec<_>>>()?;
    names.sort_unstable();
    Ok(names)
}

/// What it finds worth keeping goes to the first folder.
fn attack(program: &Path, name: &str, seconds: u64, fuzz: &Path) -> Result<()> {
    let corpus = fuzz.join("corpus").join(name);
    let artifacts = fuzz.join("artifacts").join(name);
    for folder in [&corpus, &artifacts] {
        fs::create_dir_all(folder).context("cannot make a folder of the corpus")?;
    }
    eprintln!("attacking {name}");
    let mut attack = Command::new(program);
    attack
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
    run(&mut attack)
}
