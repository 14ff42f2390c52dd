//! References in the pages of `docs/`: the linked files and headings, and the named tests, exist.

use std::path::Path;

use xtask::workspace;

use super::page::{code_words, read};

/// The folder to which test paths may be relative; other test paths start at the workspace root.
const SUITES: &str = "tests/tests";

fn pages() -> Vec<String> {
    let folder = workspace::root().join("docs");
    let entries = std::fs::read_dir(folder)
        .expect("docs/ is readable")
        .flatten();
    let names = entries.map(|entry| format!("docs/{}", entry.file_name().to_string_lossy()));
    names.filter(|name| name.ends_with(".md")).collect()
}

#[test]
fn every_link_of_the_docs_resolves() {
    for page in pages() {
        let text = read(&page);
        let targets = text.split("](").skip(1);
        for target in targets.filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (path, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = match path {
                "" => page.clone(),
                _ => format!("docs/{path}"),
            };
            assert!(workspace::root().join(&file).exists(), "{page}: {target}");
            assert!(
                heading.is_empty() || anchors(&read(&file)).contains(&heading.to_owned()),
                "{page}: {target}"
            );
        }
    }
}

/// The anchors of a page's headings, derived as on GitHub.
fn anchors(page: &str) -> Vec<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    let anchor = |heading: &str| {
        let text = heading.trim_start_matches('#').trim().to_lowercase();
        let kept = text
            .chars()
            .filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
        kept.collect::<String>().replace(' ', "-")
    };
    headings.map(anchor).collect()
}

#[test]
fn every_test_named_in_the_docs_exists() {
    let mut named = 0;
    for page in pages() {
        let text = read(&page);
        for word in code_words(&text) {
            let Some((module, name)) = word.split_once(".rs::") else {
                continue;
            };
            let file = format!("{module}.rs");
            let found = [Path::new(""), Path::new(SUITES)]
                .map(|folder| folder.join(&file))
                .into_iter()
                .find(|path| workspace::root().join(path).exists())
                .unwrap_or_else(|| panic!("{page}: {file} does not exist"));
            let source = read(&found.to_string_lossy());
            assert!(source.contains(&format!("fn {name}(")), "{page}: {word}");
            named += 1;
        }
    }
    assert!(named >= 12, "the pages name only {named} tests");
}
