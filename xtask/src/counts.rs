//! `cargo xtask counts`: instructions of the hot paths, compared with those that are kept in `bench/benches/instructions/x86_64.txt`.
//! Callgrind counts them (Valgrind manual, section 6): how busy the machine is, or how fast, makes no difference.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::Args;

use crate::command::{cargo, output, run};
use crate::workspace;

/// How far a count may be from the kept one, in percent. Builds were seen to differ by less than a tenth of one; the
/// rest is room for the allocator of another C library.
const TOLERANCE_PERCENT: u64 = 2;

const REMAKE: &str = "cargo xtask counts --update";

/// What `counts` is told on the command line.
#[derive(Debug, Default, Args)]
pub struct CountsArgs {
    /// Keep what is counted now
    #[arg(long)]
    update: bool,
}

/// Instructions by case.
type Counts = BTreeMap<String, u64>;

/// Counts every case, and compares or keeps what comes of it.
///
/// # Errors
/// When Valgrind is missing, the cases do not compile, or a count is not what is kept; the message names the case.
pub fn counts(args: &CountsArgs) -> Result<()> {
    run(&mut cargo(&["build", "--release", "-p", "counts"]))?;
    let counted = count_all()?;
    let file = workspace::root().join(format!("bench/benches/instructions/{ARCH}.txt"));
    if args.update {
        return fs::write(&file, write(&counted)).context("cannot keep the counts");
    }
    eprint!("{}", write(&counted));
    if !file.exists() {
        // Another processor has other instructions.
        eprintln!("nothing is kept for {ARCH}, so nothing is compared; `{REMAKE}` keeps it");
        return Ok(());
    }
    let kept = fs::read_to_string(&file).context("cannot read the kept counts")?;
    let faults = compare(&parse(&kept)?, &counted);
    if !faults.is_empty() {
        bail!("instruction counts have changed\n{}", faults.join("\n"));
    }
    Ok(())
}

fn count_all() -> Result<Counts> {
    let program = workspace::release_binary("counts");
    let profiles = workspace::target_dir().join("counts");
    fs::create_dir_all(&profiles).context("cannot make the folder of the profiles")?;
    let names = output(&mut Command::new(&program))?;
    let count = |name: &str| Ok((name.to_owned(), count(&program, name, &profiles)?));
    names.lines().map(count).collect()
}

/// Runs one case; its profile stays for `callgrind_annotate`.
fn count(program: &Path, name: &str, profiles: &Path) -> Result<u64> {
    let profile: PathBuf = profiles.join(format!("{name}.out"));
    let mut valgrind = Command::new("valgrind");
    valgrind
        .args(["--tool=callgrind", "--collect-atstart=no"])
        .arg("--toggle-collect=counts::measured")
        .arg(format!("--callgrind-out-file={}", profile.display()))
        .arg(program)
        .arg(name);
    output(&mut valgrind)?;
    let profile = fs::read_to_string(&profile).context("cannot read a profile")?;
    let total = profile
        .lines()
        .find_map(|line| line.strip_prefix("totals: "));
    let total = total.and_then(|total| total.trim().parse().ok());
    let total = total.filter(|total| *total > 0);
    total.with_context(|| format!("the profile of {name} has no instructions"))
}

/// What differs by more than the tolerance, a line each.
fn compare(kept: &Counts, counted: &Counts) -> Vec<String> {
    let gone = kept.keys().filter(|name| !counted.contains_key(*name));
    let gone =
        gone.map(|name| format!("{name}: there is no such case any more; `{REMAKE}` forgets it"));
    let changed = counted
        .iter()
        .filter_map(|(name, new)| match kept.get(name) {
            Some(old) => change(name, *old, *new),
            None => Some(format!(
                "{name}: {new}, and nothing is kept; `{REMAKE}` keeps it"
            )),
        });
    gone.chain(changed).collect()
}

fn change(name: &str, old: u64, new: u64) -> Option<String> {
    if old.abs_diff(new) * 100 <= old * TOLERANCE_PERCENT {
        return None;
    }
    let advice = if new > old {
        "find out why, or keep it and say why in the commit"
    } else {
        "keep it, so that it is not lost again"
    };
    Some(format!(
        "{name}: {old} instructions were kept, {new} are counted: {advice} (`{REMAKE}`)"
    ))
}

fn write(counts: &Counts) -> String {
    let head =
        format!("# Instructions of each case of `counts`, as `{REMAKE}` has counted them.\n");
    let lines = counts
        .iter()
        .map(|(name, count)| format!("{name:<32} {count:>10}\n"));
    std::iter::once(head).chain(lines).collect()
}

fn parse(text: &str) -> Result<Counts> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    let parse = |line: &str| {
        let (name, count) = line.split_once(' ')?;
        Some((name.to_owned(), count.trim().parse().ok()?))
    };
    lines
        .map(|line| parse(line).with_context(|| format!("{line:?} is no name and count")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(counts: &[(&str, u64)]) -> Counts {
        let counts = counts.iter();
        counts
            .map(|(name, count)| ((*name).to_owned(), *count))
            .collect()
    }

    #[test]
    fn what_is_written_is_read_again() {
        let some = counts(&[
            ("key-of-1", 4_321),
            ("scan-1MiB-model-last", 12_345_678_901),
        ]);
        assert_eq!(parse(&write(&some)).unwrap(), some);
        assert!(parse("key-of-1\n").is_err());
        assert!(parse("key-of-1 many\n").is_err());
    }

    #[test]
    fn a_case_that_changes_is_named_with_what_to_do() {
        let kept = counts(&[
            ("a", 1000),
            ("b", 1000),
            ("c", 1000),
            ("d", 1000),
            ("old", 1),
        ]);
        let counted = counts(&[("a", 1020), ("b", 980), ("c", 1021), ("d", 979), ("new", 1)]);
        let faults = compare(&kept, &counted);
        let expected = [
            ("old: there is no such case", "forgets it"),
            (
                "c: 1000 instructions were kept, 1021 are counted",
                "find out why",
            ),
            (
                "d: 1000 instructions were kept, 979 are counted",
                "not lost again",
            ),
            ("new: 1, and nothing is kept", "keeps it"),
        ];
        assert_eq!(faults.len(), expected.len(), "{faults:#?}");
        for (fault, (begin, advice)) in faults.iter().zip(expected) {
            assert!(
                fault.starts_with(begin) && fault.contains(advice),
                "{fault}"
            );
            assert!(fault.contains(REMAKE), "{fault}");
        }
    }
}
