//! The report of a run: faults, outcomes of requests, counts taken afterwards, and violations.
//! `Display` is the table that a run prints.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

/// The results of a run.
#[derive(Debug, Default)]
pub struct Report {
    seed: u64,
    faults: BTreeMap<&'static str, usize>,
    outcomes: BTreeMap<String, usize>,
    counts: Vec<(&'static str, String)>,
    violations: Vec<String>,
}

impl Report {
    /// An empty report.
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            seed,
            ..Self::default()
        }
    }

    /// The violated invariants; empty after a good run.
    pub fn violations(&self) -> &[String] {
        &self.violations
    }

    /// The number of requests, including those from which the client disconnected.
    pub fn requests(&self) -> usize {
        self.outcomes.values().sum()
    }

    /// The number of injected faults.
    pub fn faults(&self) -> usize {
        self.faults.values().sum()
    }

    /// The number of requests with this outcome.
    pub fn outcome(&self, name: &str) -> usize {
        self.outcomes.get(name).copied().unwrap_or_default()
    }

    pub(crate) fn add_fault(&mut self, kind: &'static str) {
        *self.faults.entry(kind).or_default() += 1;
    }

    pub(crate) fn add_outcome(&mut self, outcome: impl Into<String>) {
        *self.outcomes.entry(outcome.into()).or_default() += 1;
    }

    /// Prints the report; the exit code is a failure if there are violations.
    ///
    /// # Errors
    /// Fails if standard output is closed.
    pub fn print_summary(&self) -> io::Result<ExitCode> {
        write!(io::stdout(), "{self}")?;
        Ok(if self.violations().is_empty() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    pub(crate) fn add_count(&mut self, name: &'static str, count: impl fmt::Display) {
        self.counts.push((name, count.to_string()));
    }

    pub(crate) fn add_violation(&mut self, violation: impl Into<String>) {
        self.violations.push(violation.into());
    }

    /// Adds another report of the same run.
    pub(crate) fn merge(&mut self, other: Self) {
        for (kind, count) in other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
        for (outcome, count) in other.outcomes {
            *self.outcomes.entry(outcome).or_default() += count;
        }
        self.counts.extend(other.counts);
        self.violations.extend(other.violations);
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        section(f, &format!("faults, seed {}", self.seed), &self.faults)?;
        row(f, "all", self.faults())?;
        section(f, "requests", &self.outcomes)?;
        row(f, "all", self.requests())?;
        section(
            f,
            "afterwards",
            self.counts.iter().map(|(name, count)| (name, count)),
        )?;
        writeln!(f, "\nviolations: {}", self.violations.len())?;
        self.violations
            .iter()
            .try_for_each(|violation| writeln!(f, "  {violation}"))
    }
}

fn section<N: fmt::Display, C: fmt::Display>(
    f: &mut fmt::Formatter<'_>,
    title: &str,
    rows: impl IntoIterator<Item = (N, C)>,
) -> fmt::Result {
    writeln!(f, "\n{title}")?;
    rows.into_iter()
        .try_for_each(|(name, count)| row(f, name, count))
}

fn row(
    f: &mut fmt::Formatter<'_>,
    name: impl fmt::Display,
    count: impl fmt::Display,
) -> fmt::Result {
    writeln!(f, "  {:<44} {:>8}", name.to_string(), count.to_string())
}
