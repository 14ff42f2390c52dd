//! `docs/migration.md`: the variables of its sections are compared with the variables of codex-edge, in both directions.
//! Those of codex-edge are on `docs/configuration.md`, which is generated from the flags, and in `host_env_keys` of
//! `envoy/filter.yaml`.

use std::collections::BTreeSet;

use super::page::{code_words, read, sections};

#[test]
fn every_variable_is_in_its_section_of_the_page() {
    let ours = supported_variables();
    assert!(ours.len() > 45, "{ours:?}");
    let page = sections(&read("docs/migration.md"));
    let named = |title: &str| -> BTreeSet<String> {
        let section = page.iter().find(|section| section.title == title);
        variables(&section.expect("the page has the section").prose)
    };
    let (kept, gone, fresh) = (named("Kept"), named("Gone"), named("Not known there"));
    assert!(gone.len() > 40, "{gone:?}");
    let here: BTreeSet<_> = kept.union(&fresh).cloned().collect();
    let unknown: Vec<_> = here.difference(&ours).collect();
    assert!(unknown.is_empty(), "unknown to codex-edge: {unknown:?}");
    let missing: Vec<_> = ours.difference(&here).collect();
    assert!(missing.is_empty(), "missing on the page: {missing:?}");
    let supported: Vec<_> = gone.intersection(&ours).collect();
    assert!(
        supported.is_empty(),
        "listed as gone but supported: {supported:?}"
    );
}

/// The variables of the sidecar and the filter.
fn supported_variables() -> BTreeSet<String> {
    let filter = read("envoy/filter.yaml");
    let keys = filter
        .split("host_env_keys:")
        .nth(1)
        .expect("the filter's configuration has host_env_keys")
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- "));
    let configuration = read("docs/configuration.md");
    let tables: Vec<_> = configuration
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let mut supported = variables(&tables.join("\n"));
    supported.extend(keys.map(str::to_owned));
    supported
}

/// The variables in the first cell of each table row, and outside of tables.
fn variables(prose: &str) -> BTreeSet<String> {
    let cells = prose.lines().map(|line| match line.strip_prefix("| ") {
        Some(row) => row.split(" | ").next().unwrap_or_default(),
        None => line,
    });
    let words = cells.flat_map(code_words).filter(|word| is_variable(word));
    words.map(str::to_owned).collect()
}

fn is_variable(word: &str) -> bool {
    let is_name = |letter: char| letter.is_ascii_uppercase() || letter == '_';
    word.len() > 3 && word.chars().all(is_name)
}
