//! The table of rules with their limits.

use super::{comments, cycles, folders, indexes, negations, shadowing, type_names, wording};
use crate::check::style::figure::Figure;
use crate::check::style::source::CrateSource;

/// A rule of the house style.
#[derive(Debug)]
pub(in crate::check::style) struct Rule {
    /// Head of the rule's column.
    pub(in crate::check::style) heading: &'static str,
    /// The measured quantity with its unit.
    pub(in crate::check::style) title: &'static str,
    pub(in crate::check::style) limit: Limit,
    pub(in crate::check::style) measure: fn(&CrateSource) -> Figure,
}

/// The accepted values of a figure.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::check::style) enum Limit {
    AtMost(f64),
    /// A lower bound, except for crates that consist of tests.
    AtLeastInProduct(f64),
    Unlimited,
}

/// The result of a comparison with a limit.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(in crate::check::style) enum Verdict {
    Within,
    Outside,
    /// The limit does not apply to the crate.
    Exempt,
}

impl Rule {
    /// Compares `figure` with the limit for `source`.
    pub(in crate::check::style) fn judge(&self, figure: &Figure, source: &CrateSource) -> Verdict {
        let is_within = match self.limit {
            Limit::AtLeastInProduct(_) if source.is_test_crate => return Verdict::Exempt,
            Limit::AtLeastInProduct(limit) => figure.value >= limit,
            Limit::AtMost(limit) => figure.value <= limit,
            Limit::Unlimited => true,
        };
        if is_within {
            Verdict::Within
        } else {
            Verdict::Outside
        }
    }
}

/// The rules in the order of the table's columns.
pub(in crate::check::style) const RULES: &[Rule] = &[
    Rule {
        heading: "openers %",
        title: "doc comments that open with a relative word, percent",
        // linkerd2-proxy, hyper and ripgrep have 0 to 5 %.
        limit: Limit::AtMost(3.0),
        measure: wording::relative_openers,
    },
    Rule {
        heading: "what",
        title: "\"what\" and \"whatever\" per 1,000 words of docs",
        limit: Limit::AtMost(1.0),
        measure: wording::what,
    },
    Rule {
        heading: "who",
        title: "\"who\", \"whose\", \"whom\" and \"whoever\" per 1,000 words of docs",
        limit: Limit::AtMost(0.5),
        measure: wording::who,
    },
    Rule {
        heading: "nobody",
        title: "\"nobody\", \"nothing\", \"anybody\", \"somebody\" and \"everybody\" per 1,000 words of docs",
        limit: Limit::AtMost(1.0),
        measure: wording::nobody,
    },
    Rule {
        heading: "it",
        title: "\"it\" and \"its\" per 1,000 words of docs",
        limit: Limit::Unlimited,
        measure: wording::it,
    },
    Rule {
        heading: "same name %",
        title: "types that share their name with another type of the crate, percent",
        limit: Limit::AtMost(10.0),
        measure: type_names::shared,
    },
    Rule {
        heading: "comments",
        title: "comment lines per 100 code lines outside tests",
        limit: Limit::AtLeastInProduct(1.5),
        measure: comments::density,
    },
    Rule {
        heading: "mod.rs",
        title: "`mod.rs` files with a `fn` or `impl`",
        limit: Limit::AtMost(0.0),
        measure: indexes::with_code,
    },
    Rule {
        heading: "cycles",
        title: "import cycles between files",
        limit: Limit::AtMost(0.0),
        measure: cycles::between_files,
    },
    Rule {
        heading: "files",
        title: "files in the largest folder",
        limit: Limit::AtMost(folders::MAX_FILES as f64),
        measure: folders::largest,
    },
    Rule {
        heading: "shadowing",
        title: "half-step shadowings per 1,000 functions",
        limit: Limit::AtMost(3.0),
        measure: shadowing::half_steps,
    },
    Rule {
        heading: "negation",
        title: "verbs negated by \"no\" or \"none\" in docs and string literals",
        limit: Limit::AtMost(0.0),
        measure: negations::is_no,
    },
];
