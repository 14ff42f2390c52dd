use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::report::{Listing, Report};
use super::run::measure;
use super::source::Place;

const WORKSPACE: &str = "[workspace]\nresolver = \"3\"\nmembers = [\"edge\"]\n";
const MEMBER: &str = "[package]\nname = \"edge\"\nversion = \"0.1.0\"\nedition = \"2024\"\n";

/// A crate within every limit: each rule meets a line that is close to a violation and is not one.
const GOOD: &[(&str, &str)] = &[
    (
        "src/lib.rs",
        "//! Accepts connections.\n\nmod turn;\nmod wire;\n\npub use turn::Turn;\n",
    ),
    (
        "src/turn/mod.rs",
        "//! A turn and its queue.\n\nmod item;\nmod queue;\n\npub use item::Turn;\npub(crate) use queue::Queue;\n",
    ),
    (
        "src/turn/item.rs",
        r#"//! One-way turns. The code `what` is not a word; it is no longer than `who`.

use super::Queue;

/// Whether the turn is over.
pub struct Turn(pub bool);

pub fn close(queue: &Queue) -> String {
    // The queue is read once, since a second read may see another length.
    let length = queue.length();
    let length = format!("{length} is not a number // and no comment");
    length + "the state is \"none\", which is 'none' in JSON"
}
"#,
    ),
    (
        "src/turn/queue.rs",
        r#"//! Queued turns.

/// Turns in their order.
pub struct Queue(Vec<u8>);

impl Queue {
    /// The number of turns.
    ///
    /// ```
    /// // Who and what is in an example does not count.
    /// ```
    pub fn length(&self) -> usize {
        self.0.len() // In turns.
    }
}

#[cfg(test)]
impl<A, B> Turns<A, B> {
    fn of_test() {
        let this_is_line = "one of many lines without a comment";
    }
}

#[cfg(test)]
mod tests {
    use crate::turn::Turn;

    struct Queue(Turn);
}
"#,
    ),
    (
        "src/wire.rs",
        "//! Turns as the protocol has them.\n\npub struct Turn; // A wire type may share its name.\n",
    ),
];

/// A crate that breaks every rule with a limit once.
const BAD: &[(&str, &str)] = &[
    (
        "src/lib.rs",
        "//! Accepts connections.\n\nmod first;\nmod folder;\nmod second;\n",
    ),
    (
        "src/first.rs",
        r#"//! What comes first.

use crate::folder::Second;

/// Tells whoever asks, and
/// nobody else.
pub struct Shared(pub Second);

pub fn shadowed() -> String {
    let text = String::new();
    let text = text.trim().to_owned();
    text
}

pub fn message(key: &str) -> String {
    format!("{key:?} is @ key")
}
"#,
    ),
    (
        "src/second.rs",
        "//! The second file.\n\npub struct Second(pub Option<Box<crate::first::Shared>>);\n\nstruct Shared;\n",
    ),
    (
        "src/folder/mod.rs",
        "//! A folder.\n\npub use crate::second::Second;\n\npub fn code() {}\n",
    ),
];

#[test]
fn a_good_tree_is_within_every_limit() {
    let report = report(GOOD);
    assert_eq!(report.failed(), []);
    assert_eq!(report.failures(), 0);
    assert_eq!(report.places(&listing(&[])), "");
    let table = report.table();
    assert!(
        table
            .lines()
            .nth(2)
            .is_some_and(|row| row.starts_with("edge ")),
        "{table}"
    );
}

#[test]
fn each_rule_finds_its_violation_at_its_place() {
    let mut files: Vec<_> = BAD.to_vec();
    let many: Vec<_> = (1..=13)
        .map(|number| format!("tests/many/part_{number}.rs"))
        .collect();
    files.extend(many.iter().map(|path| (path.as_str(), "")));
    let report = report(&files);
    let found: BTreeMap<_, Vec<_>> = report
        .failed()
        .into_iter()
        .map(|(heading, places)| {
            let place = |place: &Place| format!("{}:{}", place.path.display(), place.line);
            (heading, places.iter().map(place).collect())
        })
        .collect();
    let expected: &[(&str, &[&str])] = &[
        ("openers %", &["edge/src/first.rs:1"]),
        ("what", &["edge/src/first.rs:1"]),
        ("who", &["edge/src/first.rs:5"]),
        ("nobody", &["edge/src/first.rs:6"]),
        (
            "same name %",
            &["edge/src/first.rs:7", "edge/src/second.rs:5"],
        ),
        (
            "comments",
            &[
                "edge/src/first.rs:0",
                "edge/src/lib.rs:0",
                "edge/src/folder/mod.rs:0",
                "edge/src/second.rs:0",
            ],
        ),
        ("mod.rs", &["edge/src/folder/mod.rs:5"]),
        ("cycles", &["edge/src/first.rs:3"]),
        ("files", &["edge/tests/many:0"]),
        ("shadowing", &["edge/src/first.rs:11"]),
        ("negation", &["edge/src/first.rs:16"]),
    ];
    for (heading, places) in expected {
        let places: Vec<_> = places.iter().map(|place| (*place).to_owned()).collect();
        assert_eq!(found.get(heading), Some(&places), "{heading}");
    }
    assert_eq!(found.len(), expected.len(), "{found:?}");
    assert_eq!(report.failures(), expected.len());
}

#[test]
fn a_listing_names_the_line_and_keeps_to_its_paths() {
    let report = report(BAD);
    let line = violation("  edge/src/first.rs:16: format!(\"{key:?} is @ key\")\n");
    assert!(report.places(&listing(&[])).contains(&line));
    let second = report.places(&listing(&["edge/src/second.rs"]));
    assert!(
        second.contains("edge/src/second.rs:5: struct Shared;"),
        "{second}"
    );
    assert!(!second.contains("first.rs:16"), "{second}");
    let cycle = "edge/src/first.rs:3 -> edge/src/second.rs:3 -> edge/src/first.rs\n";
    assert!(report.places(&listing(&[])).contains(cycle));
}

#[test]
fn a_file_that_does_not_parse_is_an_error() {
    let dir = tree(&[("src/lib.rs", "fn {\n")]);
    let error = measure(dir.path(), &[]).unwrap_err();
    assert!(error.to_string().contains("src/lib.rs"), "{error}");
}

#[test]
fn only_the_named_packages_are_measured() {
    let dir = tree(GOOD);
    let packages = |name: &str| [name.to_owned()];
    assert_eq!(
        measure(dir.path(), &packages("edge")).unwrap().failures(),
        0
    );
    let error = measure(dir.path(), &packages("hedge")).unwrap_err();
    assert_eq!(error.to_string(), "unknown package hedge");
}

fn listing(paths: &[&str]) -> Listing {
    Listing {
        is_complete: true,
        paths: paths.iter().map(Into::into).collect(),
    }
}

fn report(files: &[(&str, &str)]) -> Report {
    measure(tree(files).path(), &[]).unwrap()
}

fn tree(files: &[(&str, &str)]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    write(dir.path(), "Cargo.toml", WORKSPACE);
    write(dir.path(), "edge/Cargo.toml", MEMBER);
    for (path, text) in files {
        write(&dir.path().join("edge"), path, &violation(text));
    }
    dir
}

/// Completes a negation that the check would otherwise find in this file.
fn violation(text: &str) -> String {
    text.replace('@', "no")
}

fn write(dir: &Path, path: &str, text: &str) {
    let file = dir.join(path);
    fs::create_dir_all(file.parent().unwrap()).unwrap();
    fs::write(file, text).unwrap();
}
