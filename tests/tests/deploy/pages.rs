//! Every folder of `deploy/` has a page and an index entry, and its files name only existing variables and files.
//! The sources are the sidecar's `--help` and the filter's list of variables.

use std::collections::BTreeSet;
use std::process::Command;

use tests::sidecar::sidecar_binary;
use xtask::command::output;

use crate::files::{names, of_workspace, path, text};

/// Returns the folders below `deploy/`.
fn folders() -> Vec<String> {
    let names = names("").into_iter();
    names.filter(|name| path(name).is_dir()).collect()
}

/// Returns every file of every folder, as `folder/name` and text.
fn files() -> Vec<(String, String)> {
    folders()
        .into_iter()
        .flat_map(|folder| {
            let names = names(&folder).into_iter();
            names.map(move |name| format!("{folder}/{name}"))
        })
        .filter(|name| path(name).is_file())
        .map(|name| (name.clone(), text(&name)))
        .collect()
}

/// Returns the words in `text` that look like a variable of codex-edge.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
    words.filter(|word| {
        ["PROXY_", "CODEX_", "SIDECAR_", "TOKEN_", "PROTO_"]
            .iter()
            .any(|prefix| word.len() > prefix.len() && word.starts_with(prefix))
    })
}

#[test]
fn every_folder_has_a_page_and_an_index_entry() {
    let index = text("README.md");
    let folders = folders();
    assert!(folders.len() >= 7, "{folders:?}");
    for folder in &folders {
        assert!(
            index.contains(&format!("[`{folder}/`]({folder}/")),
            "{folder}"
        );
    }
    for (name, page) in files() {
        let Some(folder) = name.strip_suffix("/README.md") else {
            continue;
        };
        for file in names(folder) {
            let named = file == "README.md" || page.contains(&format!("`{file}`"));
            assert!(named, "{name} does not mention {file}");
        }
    }
}

#[test]
fn every_named_variable_exists() {
    let help =
        output(Command::new(sidecar_binary()).arg("--help")).expect("`sidecar --help` succeeds");
    let filter = of_workspace("envoy/filter.yaml");
    let known: BTreeSet<_> = variables(&help).chain(variables(&filter)).collect();
    assert!(known.len() > 30, "{known:?}");
    for (name, text) in files() {
        for variable in variables(&text) {
            // A prefix such as `PROXY_RATE_LIMIT_*` stands for every variable that begins with it.
            let is_prefix = || known.iter().any(|known| known.starts_with(variable));
            let exists = known.contains(variable) || variable.ends_with('_') && is_prefix();
            assert!(exists, "{name}: {variable}");
        }
    }
    assert!(
        !known.contains("PROXY_API_KEYS"),
        "a misspelt variable would be reported"
    );
}

/// Relative links lead from a page to other pages and to the files that the page explains.
#[test]
fn every_relative_link_resolves() {
    let mut links = 0;
    for (name, page) in files()
        .into_iter()
        .chain([("README.md".to_owned(), text("README.md"))])
    {
        if !name.ends_with(".md") {
            continue;
        }
        let page_folder = path(&name)
            .parent()
            .expect("a page is in a folder")
            .to_owned();
        for link in page
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.starts_with("https://") {
                continue;
            }
            links += 1;
            let (file, _heading) = link.split_once('#').unwrap_or((link, ""));
            assert!(page_folder.join(file).exists(), "{name}: {link}");
        }
    }
    assert!(links > 7);
}
