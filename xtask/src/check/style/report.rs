//! The table of figures, and the places behind each figure outside its limit.

use std::fmt::{self, Write};
use std::path::PathBuf;

use super::figure::Figure;
use super::rules::{Limit, RULES, Rule, Verdict};
use super::source::{CrateSource, Place};

/// Places per figure that are listed without `--all`.
const PLACES: usize = 10;

/// The figures of all crates.
#[derive(Debug)]
pub(super) struct Report {
    rows: Vec<CrateFigures>,
}

/// The figures of one crate, in the order of the rules.
#[derive(Debug)]
struct CrateFigures {
    name: String,
    figures: Vec<(Figure, Verdict)>,
}

/// The places to list.
#[derive(Debug)]
pub(super) struct Listing {
    /// Whether every place is listed and not the first ten only.
    pub(super) is_complete: bool,
    /// Paths of the listed places; every place is listed if empty.
    pub(super) paths: Vec<PathBuf>,
}

impl Report {
    /// Measures every rule on every crate.
    pub(super) fn measure(sources: &[CrateSource]) -> Self {
        let measure = |source: &CrateSource| CrateFigures {
            name: source.name.clone(),
            figures: RULES
                .iter()
                .map(|rule| {
                    let figure = (rule.measure)(source);
                    let verdict = rule.judge(&figure, source);
                    (figure, verdict)
                })
                .collect(),
        };
        Self {
            rows: sources.iter().map(measure).collect(),
        }
    }

    /// The number of figures outside their limits.
    pub(super) fn failures(&self) -> usize {
        let figures = self.rows.iter().flat_map(|row| &row.figures);
        figures
            .filter(|(_, verdict)| *verdict == Verdict::Outside)
            .count()
    }

    /// The table, with a `!` behind a figure outside its limit and a `*` behind a figure without one.
    pub(super) fn table(&self) -> String {
        let cell = |(figure, verdict): &(Figure, Verdict)| {
            let mark = match verdict {
                Verdict::Within => ' ',
                Verdict::Outside => '!',
                Verdict::Exempt => '*',
            };
            format!("{}{mark}", number(figure.value))
        };
        let headings = RULES.iter().map(|rule| format!("{} ", rule.heading));
        let limits = RULES.iter().map(|rule| limit(rule.limit));
        let mut lines = vec![line("crate", headings), line("limit", limits)];
        let rows = self.rows.iter();
        lines.extend(rows.map(|row| line(&row.name, row.figures.iter().map(cell))));
        align(&lines) + "! outside the limit; * not limited, since the crate consists of tests\n"
    }

    /// The places behind the figures outside their limits.
    pub(super) fn places(&self, listing: &Listing) -> String {
        let mut text = String::new();
        for row in &self.rows {
            for (rule, (figure, verdict)) in RULES.iter().zip(&row.figures) {
                if *verdict == Verdict::Outside {
                    let _ = list(&mut text, &row.name, rule, figure, listing); // Writing to a string does not fail.
                }
            }
        }
        text
    }

    /// The headings of the failed rules with their places.
    #[cfg(test)]
    pub(super) fn failed(&self) -> Vec<(&'static str, &[Place])> {
        let figures = self
            .rows
            .iter()
            .flat_map(|row| RULES.iter().zip(&row.figures));
        figures
            .filter(|(_, (_, verdict))| *verdict == Verdict::Outside)
            .map(|(rule, (figure, _))| (rule.heading, &*figure.places))
            .collect()
    }
}

fn list(
    text: &mut String,
    name: &str,
    rule: &Rule,
    figure: &Figure,
    listing: &Listing,
) -> fmt::Result {
    let is_wanted = |place: &&Place| {
        listing.paths.is_empty()
            || listing
                .paths
                .iter()
                .any(|path| place.path.starts_with(path))
    };
    let places: Vec<_> = figure.places.iter().filter(is_wanted).collect();
    if places.is_empty() {
        return Ok(());
    }
    let value = number(figure.value);
    writeln!(
        text,
        "\n{name}: {}: {value}, limit {}",
        rule.title,
        limit(rule.limit).trim()
    )?;
    let most = match listing.is_complete {
        true => places.len(),
        false => PLACES,
    };
    for place in places.iter().take(most) {
        let line = match place.line {
            // A file or folder as a whole.
            0 => String::new(),
            line => format!("{line}:"),
        };
        writeln!(text, "  {}:{line} {}", place.path.display(), place.text)?;
    }
    if places.len() > most {
        writeln!(text, "  and {} more; --all lists them", places.len() - most)?;
    }
    Ok(())
}

fn number(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.1}")
    }
}

fn limit(limit: Limit) -> String {
    match limit {
        Limit::AtMost(limit) => format!("<= {} ", number(limit)),
        Limit::AtLeastInProduct(limit) => format!(">= {} ", number(limit)),
        Limit::Unlimited => "- ".to_owned(),
    }
}

fn line(first: &str, rest: impl Iterator<Item = String>) -> Vec<String> {
    std::iter::once(first.to_owned()).chain(rest).collect()
}

/// Pads each column to its widest cell: the first column is aligned to the left, the others to the right.
fn align(lines: &[Vec<String>]) -> String {
    let columns = lines.first().map_or(0, Vec::len);
    let widths: Vec<_> = (0..columns)
        .map(|column| {
            lines
                .iter()
                .map(|line| line[column].len())
                .max()
                .unwrap_or(0)
        })
        .collect();
    let mut text = String::new();
    for line in lines {
        let columns = line.iter().zip(&widths).enumerate();
        let cells: Vec<_> = columns
            .map(|(column, (cell, &width))| match column {
                0 => format!("{cell:<width$}"),
                _ => format!("{cell:>width$}"),
            })
            .collect();
        text.push_str(cells.join(" ").trim_end());
        text.push('\n');
    }
    text
}
