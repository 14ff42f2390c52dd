//! `cargo xtask counts`: instruction counts of the hot paths, compared with the committed baseline.
//!
//! Callgrind counts (Valgrind manual, chapter 6), so neither the load nor the speed of the machine matters. The
//! benchmarks are the target `instructions` of the member `bench`, on gungraun. Gungraun keeps its own baselines as
//! profiles in the target folder, which cannot be committed; hence the comparison with a text file in this module.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::env::{join_paths, split_paths, var_os};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;
use codex_edge::report;
use serde_json::Value;

use crate::command::{cargo, output, run};
use crate::tools::Tools;
use crate::workspace;

/// Largest accepted difference from the baseline, in percent. Builds from different folders were seen to differ by less
/// than 0.1 %; the rest is room for the allocator of another C library.
const TOLERANCE_PERCENT: u64 = 2;

const UPDATE: &str = "cargo xtask counts --update";

/// Version of the program that starts Valgrind; gungraun requires the version of its library.
const RUNNER_VERSION: &str = "0.20.0";

/// Command line of `counts`.
#[derive(Debug, Default, Args)]
pub struct CountsArgs {
    /// Write the current counts to the baseline
    #[arg(long)]
    update: bool,
}

/// Instructions by benchmark.
type Counts = BTreeMap<String, u64>;

/// Runs every benchmark, then updates the baseline or compares the counts with the baseline.
///
/// # Errors
/// When Valgrind is missing, the runner cannot be installed, the benchmarks do not compile, or a count differs from the
/// baseline by more than the tolerance; the message names the benchmark.
pub fn counts(args: &CountsArgs) -> Result<()> {
    let counted = count()?;
    let file = workspace::root().join(format!("bench/benches/instructions/{ARCH}.txt"));
    if args.update {
        return fs::write(&file, write(&counted)).context("cannot write the baseline");
    }
    report!("{}", write(&counted).trim_end());
    if !file.exists() {
        report!("no baseline for {ARCH}, comparison skipped; `{UPDATE}` creates a baseline");
        return Ok(());
    }
    let baseline = fs::read_to_string(&file).context("cannot read the baseline")?;
    let differences = compare(&parse(&baseline)?, &counted);
    if !differences.is_empty() {
        bail!("instruction counts changed\n{}", differences.join("\n"));
    }
    Ok(())
}

fn count() -> Result<Counts> {
    // Gungraun reports a missing Valgrind only after the build, which takes minutes.
    output(Command::new("valgrind").arg("--version"))?;
    let inherited = var_os("PATH").unwrap_or_default();
    let path = join_paths(
        [install_runner()?]
            .into_iter()
            .chain(split_paths(&inherited)),
    )
    .context("the path of the runner contains a colon")?;
    let bench = ["bench", "--package", "bench", "--bench", "instructions"];
    run(cargo(&bench).arg("--no-run"))?;
    let summaries = output(
        cargo(&bench)
            .args(["--", "--output-format=json"])
            .env("PATH", path),
    )?;
    summaries.lines().map(parse_summary).collect()
}

/// Installs the runner from the package registry into `.tools/`, unless it is there, and returns its folder.
///
/// # Errors
/// When the runner cannot be fetched or compiled.
pub fn install_runner() -> Result<PathBuf> {
    let root = Tools::open()
        .dir()
        .join(format!("gungraun-runner-{RUNNER_VERSION}"));
    let bin = root.join("bin");
    // Cargo moves the finished program into the folder, so that an existing program is complete.
    if !bin.join("gungraun-runner").exists() {
        let version = format!("={RUNNER_VERSION}");
        let install = ["install", "gungraun-runner", "--locked", "--version"];
        run(cargo(&install).arg(version).arg("--root").arg(root))?;
    }
    Ok(bin)
}

/// Parses a line of gungraun's JSON output, the summary of one benchmark (schema version 7).
fn parse_summary(line: &str) -> Result<(String, u64)> {
    let summary: Value = serde_json::from_str(line).context("gungraun's output is not JSON")?;
    let function = summary["function_name"].as_str().unwrap_or_default();
    let id = summary["id"].as_str().unwrap_or_default();
    let instructions = &summary["profiles"][0]["data"]["total"]["metrics"]["Ir"]["values"]["new"];
    let name = format!("{function}::{id}");
    let count = instructions
        .as_u64()
        .filter(|count| *count > 0)
        .with_context(|| format!("the summary of {name} has no instructions"))?;
    Ok((name, count))
}

/// Returns one line per count that differs by more than the tolerance, or that is missing on one side.
fn compare(baseline: &Counts, counted: &Counts) -> Vec<String> {
    let removed = baseline
        .keys()
        .filter(|name| !counted.contains_key(*name))
        .map(|name| {
            format!("{name}: in the baseline, but not a benchmark; `{UPDATE}` removes the entry")
        });
    let changed = counted
        .iter()
        .filter_map(|(name, new)| match baseline.get(name) {
            Some(old) => describe_change(name, *old, *new),
            None => Some(format!(
                "{name}: {new} instructions, not in the baseline; `{UPDATE}` adds the entry"
            )),
        });
    removed.chain(changed).collect()
}

fn describe_change(name: &str, old: u64, new: u64) -> Option<String> {
    // Multiplied rather than divided: a small count would round a difference of 2.9 % down to 2.
    if old.abs_diff(new) * 100 <= old * TOLERANCE_PERCENT {
        return None;
    }
    let advice = if new > old {
        "find the cause, or accept the count and explain the increase in the commit message"
    } else {
        "record the improvement, so that a later regression is noticed"
    };
    Some(format!(
        "{name}: {new} instructions, the baseline is {old}: {advice} (`{UPDATE}`)"
    ))
}

fn write(counts: &Counts) -> String {
    let head = format!("# Instructions per benchmark, written by `{UPDATE}`.\n");
    let lines = counts
        .iter()
        .map(|(name, count)| format!("{name:<36} {count:>10}\n"));
    std::iter::once(head).chain(lines).collect()
}

fn parse(text: &str) -> Result<Counts> {
    let parse_line = |line: &str| {
        let (name, count) = line.split_once(' ')?;
        Some((name.to_owned(), count.trim().parse().ok()?))
    };
    text.lines()
        .filter(|line| !line.starts_with('#'))
        .map(|line| parse_line(line).with_context(|| format!("{line:?} is not a name and a count")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(counts: &[(&str, u64)]) -> Counts {
        counts
            .iter()
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect()
    }

    #[test]
    fn a_written_baseline_parses_to_the_same_counts() {
        let some = counts(&[
            ("look_up_key::of_1", 4_321),
            ("scan_body::model_last_1_mib", 12_345_678_901),
        ]);
        assert_eq!(parse(&write(&some)).unwrap(), some);
        assert!(parse("look_up_key::of_1\n").is_err());
        assert!(parse("look_up_key::of_1 many\n").is_err());
    }

    #[test]
    fn a_summary_is_parsed_to_name_and_instructions() {
        let summary = |instructions: &str| {
            format!(
                r#"{{"function_name":"look_up_key","id":"of_1","profiles":[{{"data":{{"total":{{"metrics":{{"Ir":{{"values":{instructions}}}}}}}}}}}]}}"#
            )
        };
        let expected = ("look_up_key::of_1".to_owned(), 4136);
        assert_eq!(
            parse_summary(&summary(r#"{"new":4136,"old":4000}"#)).unwrap(),
            expected
        );
        for values in [r#"{"new":0}"#, r#"{"old":4136}"#, "{}"] {
            let error = parse_summary(&summary(values)).unwrap_err().to_string();
            assert!(error.contains("look_up_key::of_1"), "{error}");
        }
    }

    #[test]
    fn the_runner_has_the_version_of_the_library() {
        let manifest = include_str!("../../Cargo.toml");
        let dependency = format!("gungraun = \"={RUNNER_VERSION}\"");
        assert!(
            manifest.lines().any(|line| line == dependency),
            "{dependency}"
        );
    }

    #[test]
    fn changes_beyond_the_tolerance_are_reported_with_advice() {
        let baseline = counts(&[
            ("a", 1000),
            ("b", 1000),
            ("c", 1000),
            ("d", 1000),
            ("old", 1),
        ]);
        let counted = counts(&[("a", 1020), ("b", 980), ("c", 1021), ("d", 979), ("new", 1)]);
        let differences = compare(&baseline, &counted);
        let expected = [
            ("old: in the baseline", "removes the entry"),
            (
                "c: 1021 instructions, the baseline is 1000",
                "find the cause",
            ),
            (
                "d: 979 instructions, the baseline is 1000",
                "record the improvement",
            ),
            ("new: 1 instructions, not in the baseline", "adds the entry"),
        ];
        assert_eq!(differences.len(), expected.len(), "{differences:#?}");
        for (difference, (begin, advice)) in differences.iter().zip(expected) {
            assert!(
                difference.starts_with(begin) && difference.contains(advice),
                "{difference}"
            );
            assert!(difference.contains(UPDATE), "{difference}");
        }
    }
}
