//! Warnings for environment variables: unknown names, and values that the filter would reject.
//! Only names with a prefix of this project are checked: they are misspelt, or variables of the Node proxy that were
//! removed. The filter's names are those of its `config/environment.rs`, and its own parser reads their values.

use std::collections::BTreeMap;
use std::time::SystemTime;

use filter::config::Config as FilterConfig;

use super::report::Diagnostic;
use super::report::Severity::Warn;
use crate::config;
use crate::process::orphans;

/// Prefixes of this project's variables.
const PREFIXES: [&str; 5] = ["CODEX_", "PROTO_LOG_", "PROXY_", "SIDECAR_", "TOKEN_LOG_"];

/// The address of Envoy's public listener in the compose file and for `cargo xtask up`.
pub(super) const PUBLIC_HOST: &str = "PROXY_HOST";

/// Variables that the filter reads; Envoy may be started from the same environment file.
const FILTER_VARIABLES: [&str; 9] = [
    "PROXY_API_KEY",
    "PROXY_BUDGET",
    "PROXY_CORS_ALLOWED_ORIGINS",
    "PROXY_ENABLE_CORS",
    PUBLIC_HOST,
    "PROXY_PROTECT_MODELS",
    "PROXY_RATE_LIMIT_ENABLED",
    "PROXY_RATE_LIMIT_MAX",
    "PROXY_RATE_LIMIT_WINDOW_MS",
];

/// Variables of the compose file and of `cargo xtask`, the credential that children inherit, and the mark of children.
const OTHER_VARIABLES: [&str; 3] = ["CODEX_ACCESS_TOKEN", "CODEX_EDGE_TOOLS", orphans::OWNER_ENV];

/// Similarity, from 0 to 1, from which a known name is suggested for an unknown one.
const SIMILARITY: f64 = 0.8;

/// A configuration of the filter in which every field comes from the variables. It needs no key, because the sidecar's
/// environment rarely has one.
const FILTER_JSON: &[u8] = br#"{"auth": "none"}"#;

/// Returns a warning for each of the filter's variables in `set` that the filter would reject. Envoy then keeps its
/// previous configuration or, at its start, answers every request with 503.
pub(super) fn check_filter(set: &BTreeMap<String, String>, now: SystemTime) -> Vec<Diagnostic> {
    FILTER_VARIABLES
        .into_iter()
        .filter_map(|name| {
            let value = set.get(name)?;
            // Alone, since the parser reports the first mistake only; with the address, which decides on the length of keys.
            let mut environment = BTreeMap::from([(name.to_owned(), value.clone())]);
            environment.extend(
                set.get_key_value(PUBLIC_HOST)
                    .map(|(name, host)| (name.clone(), host.clone())),
            );
            let error = FilterConfig::load(FILTER_JSON, &environment, now).err()?;
            Some(describe_rejected(name, &error.to_string()))
        })
        .map(|text| Diagnostic::new(Warn, "filter", text))
        .collect()
}

/// Describes an error of the filter, which names the variable, or the field that the variable fills.
fn describe_rejected(name: &str, error: &str) -> String {
    let problem = error.strip_prefix(&format!("{name}: ")).unwrap_or(error);
    format!("Envoy would reject {name}: {problem}")
}

/// Returns a warning for each unknown name in `set`, and for each name in `passed`, the passthrough list, that is not set.
pub(super) fn check(set: &[String], passed: &[String]) -> Vec<Diagnostic> {
    let own = config::variables();
    let known: Vec<_> = own
        .iter()
        .map(String::as_str)
        .chain(FILTER_VARIABLES)
        .chain(OTHER_VARIABLES)
        .collect();
    let is_unknown = |name: &&String| {
        PREFIXES.iter().any(|prefix| name.starts_with(prefix))
            && !known.contains(&name.as_str())
            && !passed.contains(name)
    };
    let unknown = set
        .iter()
        .filter(is_unknown)
        .map(|name| describe_unknown(name, &known));
    let unset = passed
        .iter()
        .filter(|name| !set.contains(name))
        .map(|name| format!("{name} is listed in CODEX_ENV_PASSTHROUGH but not set"));
    let mut texts: Vec<_> = unknown.chain(unset).collect();
    texts.sort_unstable(); // The order of the environment is arbitrary.
    texts
        .into_iter()
        .map(|text| Diagnostic::new(Warn, "variable", text))
        .collect()
}

fn describe_unknown(name: &str, known: &[&str]) -> String {
    let similarity = |other: &&str| strsim::normalized_damerau_levenshtein(name, other);
    let similar = known
        .iter()
        .map(|other| (similarity(other), *other))
        .filter(|(similarity, _)| *similarity >= SIMILARITY)
        .max_by(|one, other| one.0.total_cmp(&other.0));
    match similar {
        Some((_, other)) => format!("unknown variable {name}; did you mean {other}?"),
        // Seen with Codex 0.169 and 0.171, which read it in `codex exec` alone.
        None if name == "CODEX_API_KEY" => format!(
            "{name} is not used as a login; run `codex login --with-api-key`, or add it to CODEX_ENV_PASSTHROUGH for a provider that reads it"
        ),
        None if name.starts_with("CODEX_") => {
            format!("unknown variable {name}; add it to CODEX_ENV_PASSTHROUGH to pass it to Codex")
        }
        None => format!("unknown variable {name}; docs/configuration.md lists all variables"),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    fn warnings(set: &[&str], passed: &[&str]) -> Vec<String> {
        let owned = |names: &[&str]| {
            names
                .iter()
                .map(|name| (*name).to_owned())
                .collect::<Vec<_>>()
        };
        check(&owned(set), &owned(passed))
            .into_iter()
            .map(|diagnostic| diagnostic.text)
            .collect()
    }

    #[test]
    fn unknown_variable_warning_suggests_a_remedy() {
        for (set, expected) in [
            ("PROXY_TIMEOUTS_MS", "did you mean PROXY_TIMEOUT_MS?"),
            (
                "PROXY_CORS_ALLOWED_ORIGIN",
                "did you mean PROXY_CORS_ALLOWED_ORIGINS?",
            ),
            ("CODEX_WORKER", "did you mean CODEX_WORKERS?"),
            ("CODEX_API_KEY", "add it to CODEX_ENV_PASSTHROUGH"),
            ("PROXY_COPILOT_AUTO_DETECT", "docs/configuration.md"),
        ] {
            let found = warnings(&[set], &[]);
            assert_eq!(found.len(), 1, "{found:?}");
            assert!(
                found[0].contains(set) && found[0].contains(expected),
                "{found:?}"
            );
        }
    }

    #[test]
    fn known_and_foreign_variables_are_not_reported() {
        let set = [
            "PROXY_API_KEY",
            "PROXY_TIMEOUT_MS",
            "PORT",
            "PATH",
            "CODEX_API_KEY",
        ];
        assert!(warnings(&set, &["CODEX_API_KEY"]).is_empty());
        let unset = warnings(&[], &["CODEX_API_KEY"]);
        assert!(unset[0].contains("but not set"), "{unset:?}");
    }

    #[test]
    fn rejected_filter_variable_is_named_with_the_mistake_and_without_its_value() {
        for (name, value, problem) in [
            ("PROXY_API_KEY", "two words", "expected visible ASCII"),
            ("PROXY_ENABLE_CORS", "maybe", "expected true or false"),
            ("PROXY_PROTECT_MODELS", "2", "expected true or false"),
            ("PROXY_RATE_LIMIT_ENABLED", "sometimes", "expected true"),
            ("PROXY_RATE_LIMIT_MAX", "many", "expected a whole number"),
            ("PROXY_RATE_LIMIT_WINDOW_MS", "0", "rate_limit.window_ms: "),
            (
                "PROXY_CORS_ALLOWED_ORIGINS",
                "example",
                "cors.allowed_origins",
            ),
        ] {
            let set = BTreeMap::from([(name.to_owned(), value.to_owned())]);
            let found = check_filter(&set, SystemTime::now());
            let [warning] = found.as_slice() else {
                panic!("{name}={value}: {found:?}");
            };
            let expected = format!("Envoy would reject {name}: ");
            assert!(warning.text.starts_with(&expected), "{warning:?}");
            assert!(warning.text.contains(problem), "{warning:?}");
            assert!(!warning.text.contains("two words"), "{warning:?}");
        }
    }

    #[test]
    fn short_key_is_reported_where_other_machines_can_connect() {
        let check = |host: &str| {
            let set = [("PROXY_API_KEY", "short"), (PUBLIC_HOST, host)];
            let set = set.map(|(name, value)| (name.to_owned(), value.to_owned()));
            check_filter(&BTreeMap::from(set), SystemTime::now())
        };
        assert!(check("127.0.0.1").is_empty());
        let reported = format!("{:?}", check("0.0.0.0"));
        assert!(
            reported.contains("shorter than 16 characters"),
            "{reported}"
        );
    }

    #[test]
    fn valid_filter_variables_are_not_reported() {
        let set = [
            ("PROXY_RATE_LIMIT_MAX", "5"),
            ("PROXY_ENABLE_CORS", "off"),
            ("PROXY_CORS_ALLOWED_ORIGINS", "https://app.example"),
            ("PROXY_PROTECT_MODELS", ""),
        ];
        let set = set.map(|(name, value)| (name.to_owned(), value.to_owned()));
        assert!(check_filter(&BTreeMap::from(set), SystemTime::now()).is_empty());
    }

    #[test]
    fn filter_variables_match_the_source_of_the_filter() {
        let source = include_str!("../../../filter/src/config/environment.rs");
        let quoted = source.split('"').skip(1).step_by(2);
        let is_name = |text: &&str| {
            text.contains('_') && text.chars().all(|c| c.is_ascii_uppercase() || c == '_')
        };
        let read: BTreeSet<_> = quoted.filter(is_name).collect();
        assert_eq!(read, BTreeSet::from(FILTER_VARIABLES));
    }
}
