//! README.md, section "Configuration", compared with the code: fields, variables, and defaults that are numbers.
//! The code's lists are those of its error messages (`KNOWN`) and the names in `environment.rs`.

use std::collections::BTreeSet;

use crate::config::keys;
use crate::config::load::{
    DEFAULT_MAX_BODY_BYTES, DEFAULT_MAX_CLIENT_REQUESTS, DEFAULT_MAX_HELD_BODY_BYTES, KNOWN,
};
use crate::config::values::{DEFAULT_LIMIT, DEFAULT_UNAUTHENTICATED_LIMIT};

fn section() -> &'static str {
    let (_, section) = include_str!("../../../README.md")
        .split_once("## Configuration\n")
        .unwrap();
    section.split_once("\n## ").unwrap().0
}

/// The cells of the table's rows.
fn rows() -> Vec<Vec<&'static str>> {
    let rows = section().lines().filter(|line| line.starts_with("| `"));
    rows.map(|row| row.trim_matches('|').split(" | ").map(str::trim).collect())
        .collect()
}

/// The texts between backticks.
fn code(text: &str) -> impl Iterator<Item = &str> {
    text.split('`').skip(1).step_by(2)
}

#[test]
fn readme_lists_every_field() {
    let rows = rows();
    let field = |row: &Vec<&'static str>| {
        let name = code(row[0]).next().unwrap();
        name.split('.').next().unwrap()
    };
    let written: BTreeSet<_> = rows.iter().map(field).collect();
    assert_eq!(written, KNOWN.split(", ").collect());
    let (_, of_a_key) = section().split_once("\nA key: ").unwrap();
    let written: BTreeSet<_> = code(of_a_key).collect();
    for name in keys::KNOWN.split(", ") {
        assert!(written.contains(name), "{name}: {written:?}");
    }
}

#[test]
fn readme_lists_every_variable() {
    let is_name = |text: &&str| {
        text.contains('_') && text.chars().all(|c| c.is_ascii_uppercase() || c == '_')
    };
    let source = include_str!("../environment.rs");
    let read: BTreeSet<_> = source
        .split('"')
        .skip(1)
        .step_by(2)
        .filter(is_name)
        .collect();
    let rows = rows();
    let cells = rows.iter().map(|row| row[2]);
    let written: BTreeSet<_> = cells.flat_map(code).filter(is_name).collect();
    assert_eq!(written, read);
}

#[test]
fn readme_has_the_defaults_of_the_code() {
    let per_minute = |(requests, window_ms): (u64, u64)| {
        assert_eq!(window_ms, 60_000);
        format!("{requests} a minute")
    };
    for (field, default) in [
        ("rate_limit", per_minute(DEFAULT_LIMIT)),
        (
            "unauthenticated_rate_limit",
            per_minute(DEFAULT_UNAUTHENTICATED_LIMIT),
        ),
        (
            "max_body_bytes",
            format!("{} MiB", DEFAULT_MAX_BODY_BYTES >> 20),
        ),
        (
            "max_client_requests",
            DEFAULT_MAX_CLIENT_REQUESTS.to_string(),
        ),
        (
            "max_held_body_bytes",
            format!("{} MiB", DEFAULT_MAX_HELD_BODY_BYTES >> 20),
        ),
    ] {
        let rows = rows();
        let row = rows
            .iter()
            .find(|row| code(row[0]).any(|name| name == field));
        let written = row.unwrap()[1];
        assert!(written.contains(&default), "{field}: {written}");
    }
}
