//! The command line of the check: measures, prints the report, and fails on a figure outside its limit.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use clap::Args;

use super::members;
use super::report::{Listing, Report};
use super::source::CrateSource;
use crate::workspace;

/// The arguments of `check style`.
#[derive(Debug, Default, Args)]
pub(crate) struct StyleArgs {
    /// Succeed even if a figure is outside its limit
    #[arg(long)]
    report: bool,
    /// List every place, not only the first ten of a figure
    #[arg(long)]
    all: bool,
    /// Root of the checkout to measure; the workspace of this program by default
    #[arg(long, value_name = "DIR")]
    root: Option<PathBuf>,
    /// Measure only this crate; may be repeated
    #[arg(short, long = "package", value_name = "NAME")]
    packages: Vec<String>,
    /// List only places below these paths, which are relative to the root
    paths: Vec<PathBuf>,
}

/// Measures the style of every crate, and prints a table and the places behind figures outside their limits.
///
/// # Errors
/// When a file cannot be read or parsed, or a figure is outside its limit.
pub(crate) fn style(args: &StyleArgs) -> Result<()> {
    let root = args.root.as_deref().unwrap_or(workspace::root());
    let report = measure(root, &args.packages)?;
    let listing = Listing {
        is_complete: args.all,
        paths: args.paths.clone(),
    };
    let text = report.table() + &report.places(&listing);
    // A closed pipe, as behind `head`, changes nothing about the result.
    let _ = io::stdout().write_all(text.as_bytes());
    match report.failures() {
        0 => Ok(()),
        _ if args.report => Ok(()),
        failures => bail!("{failures} style figures are outside their limits"),
    }
}

/// Measures the crates `packages` of the checkout at `root`, or every crate if `packages` is empty.
pub(super) fn measure(root: &Path, packages: &[String]) -> Result<Report> {
    // Cargo reports canonical paths, which are made relative to the root.
    let root = root
        .canonicalize()
        .with_context(|| format!("cannot find {}", root.display()))?;
    let members = members::list(&root)?;
    for package in packages {
        let is_known = members.iter().any(|member| member.name == *package);
        ensure!(is_known, "unknown package {package}");
    }
    let sources: Vec<_> = members
        .iter()
        .filter(|member| packages.is_empty() || packages.contains(&member.name))
        .map(|member| CrateSource::read(&root, member))
        .collect::<Result<_>>()?;
    Ok(Report::measure(&sources))
}
