//! `docs/migration.md`: its variables are compared with those that there are, both ways.
//! Ours are on `docs/configuration.md`, which is made from the flags, and in what `envoy/filter.yaml` shows the filter.

use std::collections::BTreeSet;

use super::page::{code_words, read, sections};

#[test]
fn every_variable_is_where_the_page_has_it() {
    let ours = ours();
    assert!(ours.len() > 45, "{ours:?}");
    let page = sections(&read("docs/migration.md"));
    let named = |title: &str| -> BTreeSet<String> {
        let section = page.iter().find(|section| section.title == title);
        variables(&section.expect("the section is there").prose)
    };
    let (kept, gone, fresh) = (named("Kept"), named("Gone"), named("Not known there"));
    assert!(gone.len() > 40, "{gone:?}");
    let here: BTreeSet<_> = kept.union(&fresh).cloned().collect();
    let unknown: Vec<_> = here.difference(&ours).collect();
    assert!(unknown.is_empty(), "not ours: {unknown:?}");
    let unsaid: Vec<_> = ours.difference(&here).collect();
    assert!(unsaid.is_empty(), "not on the page: {unsaid:?}");
    let alive: Vec<_> = gone.intersection(&ours).collect();
    assert!(alive.is_empty(), "not gone: {alive:?}");
}

/// The variables that there are.
fn ours() -> BTreeSet<String> {
    let filter = read("envoy/filter.yaml");
    let keys = filter.split("host_env_keys:").nth(1).expect("it is there");
    let keys = keys
        .lines()
        .filter_map(|line| line.trim().strip_prefix("- "));
    let configuration = read("docs/configuration.md");
    let tables: Vec<_> = configuration
        .lines()
        .filter(|line| line.starts_with("| `"))
        .collect();
    let mut ours = variables(&tables.join("\n"));
    ours.extend(keys.map(str::to_owned));
    ours
}

/// The variables of a prose: those in the first cell of each row, and those outside of tables.
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
