//! What the pages of `docs/` point at is there: files, headings, and the tests that are said to show something.

use std::path::Path;

use xtask::workspace;

use super::page::{code_words, read};

/// Where the tests that a page names may be, besides the workspace's root.
const SUITES: &str = "tests/tests";

fn pages() -> Vec<String> {
    let folder = workspace::root().join("docs");
    let entries = std::fs::read_dir(folder)
        .expect("there are pages")
        .flatten();
    let names = entries.map(|entry| format!("docs/{}", entry.file_name().to_string_lossy()));
    names.filter(|name| name.ends_with(".md")).collect()
}

#[test]
fn every_link_leads_somewhere() {
    for page in pages() {
        let text = read(&page);
        let targets = text.split("](").skip(1);
        for target in targets.filter_map(|rest| rest.split(')').next()) {
            if target.contains("://") {
                continue;
            }
            let (file, heading) = target.split_once('#').unwrap_or((target, ""));
            let file = match file {
                "" => page.clone(),
                _ => format!("docs/{file}"),
            };
            assert!(workspace::root().join(&file).exists(), "{page}: {target}");
            assert!(
                heading.is_empty() || anchors(&read(&file)).contains(&heading.to_owned()),
                "{page}: {target}"
            );
        }
    }
}

/// The anchors of a page's headings, as GitHub makes them.
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
fn every_test_that_a_page_names_is_there() {
    let mut named = 0;
    for page in pages() {
        let text = read(&page);
        for word in code_words(&text) {
            let Some((file, name)) = word.split_once(".rs::") else {
                continue;
            };
            let file = format!("{file}.rs");
            let below = [Path::new(""), Path::new(SUITES)].map(|folder| folder.join(&file));
            let found = below
                .iter()
                .find(|path| workspace::root().join(path).exists());
            let found = found.unwrap_or_else(|| panic!("{page}: there is no {file}"));
            let source = read(&found.to_string_lossy());
            assert!(source.contains(&format!("fn {name}(")), "{page}: {word}");
            named += 1;
        }
    }
    assert!(named >= 12, "only {named} tests are named");
}
