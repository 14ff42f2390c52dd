//! Variables that look like ours and that nobody reads: misspelt ones, and those of the Node proxy that are gone.
//! The filter's names are those of its `config/environment.rs`; what is not ours is left alone.

use super::report::Finding;
use super::report::Verdict::Warn;
use crate::config;
use crate::process::orphans;

/// What names of ours begin with.
const PREFIXES: [&str; 5] = ["CODEX_", "PROTO_LOG_", "PROXY_", "SIDECAR_", "TOKEN_LOG_"];

/// Those that the filter reads in Envoy, which may be started from the same file.
const FILTER: [&str; 9] = [
    "CODEX_MODEL",
    "PROXY_API_KEY",
    "PROXY_CORS_ALLOWED_ORIGINS",
    "PROXY_ENABLE_CORS",
    "PROXY_MODELS",
    "PROXY_PROTECT_MODELS",
    "PROXY_RATE_LIMIT_ENABLED",
    "PROXY_RATE_LIMIT_MAX",
    "PROXY_RATE_LIMIT_WINDOW_MS",
];

/// Those of the compose file and of `cargo xtask`, and the mark of our children.
const OTHERS: [&str; 3] = ["CODEX_EDGE_TOOLS", "PROXY_HOST", orphans::OWNER_ENV];

/// How alike two names are, from 0 to 1, when one is taken for the other.
const ALIKE: f64 = 0.8;

/// A warning for each of `set` that nobody reads; `passed` are handed to Codex, which may.
pub(super) fn judge(set: &[String], passed: &[String]) -> Vec<Finding> {
    let own = config::variables();
    let others = FILTER.into_iter().chain(OTHERS);
    let known: Vec<_> = own.iter().map(String::as_str).chain(others).collect();
    let strangers = set.iter().filter(|name| {
        PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            && !known.contains(&name.as_str())
            && !passed.contains(name)
    });
    let unread = strangers.map(|name| Finding::new(Warn, "variable", unread(name, &known)));
    let unset = passed.iter().filter(|name| !set.contains(name));
    let unset = unset.map(|name| {
        let text = format!("{name}, which CODEX_ENV_PASSTHROUGH names, is not set");
        Finding::new(Warn, "variable", text)
    });
    let mut findings: Vec<_> = unread.chain(unset).collect();
    findings.sort_unstable_by(|one, other| one.text.cmp(&other.text));
    findings
}

fn unread(name: &str, known: &[&str]) -> String {
    let likeness = |other: &&str| strsim::normalized_damerau_levenshtein(name, other);
    let alike = known
        .iter()
        .map(|other| (likeness(other), *other))
        .filter(|(likeness, _)| *likeness >= ALIKE)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    match alike {
        Some((_, other)) => format!("{name} is read by nobody; is {other} meant?"),
        None if name.starts_with("CODEX_") => format!(
            "{name} is read by nobody; Codex gets it only if CODEX_ENV_PASSTHROUGH names it"
        ),
        None => format!("{name} is read by nobody; docs/configuration.md lists what is"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn judged(set: &[&str], passed: &[&str]) -> Vec<String> {
        let owned = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        let findings = judge(&owned(set), &owned(passed));
        findings.into_iter().map(|finding| finding.text).collect()
    }

    #[test]
    fn what_nobody_reads_is_named_with_what_may_be_meant() {
        for (set, expected) in [
            ("PROXY_TIMEOUTS_MS", "is PROXY_TIMEOUT_MS meant?"),
            (
                "PROXY_CORS_ALLOWED_ORIGIN",
                "is PROXY_CORS_ALLOWED_ORIGINS meant?",
            ),
            ("CODEX_WORKER", "is CODEX_WORKERS meant?"),
            ("CODEX_API_KEY", "only if CODEX_ENV_PASSTHROUGH names it"),
            ("PROXY_COPILOT_AUTO_DETECT", "docs/configuration.md"),
        ] {
            let found = judged(&[set], &[]);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(
                found[0].contains(set) && found[0].contains(expected),
                "{found:?}"
            );
        }
    }

    #[test]
    fn what_somebody_reads_is_left_alone() {
        let set = [
            "PROXY_API_KEY",
            "PROXY_TIMEOUT_MS",
            "PORT",
            "PATH",
            "CODEX_API_KEY",
        ];
        assert!(judged(&set, &["CODEX_API_KEY"]).is_empty());
        let unset = judged(&[], &["CODEX_API_KEY"]);
        assert!(unset[0].contains("is not set"), "{unset:?}");
    }

    #[test]
    fn the_filters_variables_are_those_that_it_reads() {
        let source = include_str!("../../../filter/src/config/environment.rs");
        let quoted = source.split('"').skip(1).step_by(2);
        let is_name = |text: &&str| {
            text.contains('_') && text.chars().all(|c| c.is_ascii_uppercase() || c == '_')
        };
        let read: BTreeSet<_> = quoted.filter(is_name).collect();
        assert_eq!(read, BTreeSet::from(FILTER));
    }
}
