//! What holds for every folder: its page, its place in the index, and that it names nothing that is not there.
//! The sources are the sidecar's `--help`, the filter's list of variables, and the Dockerfile.

use std::collections::BTreeSet;
use std::process::Command;

use tests::sidecar::sidecar_binary;
use xtask::command::output;

use crate::files::{names, of_workspace, path, text};

/// The folders below `deploy/`.
fn folders() -> Vec<String> {
    let names = names("").into_iter();
    names.filter(|name| path(name).is_dir()).collect()
}

/// Every file of every folder, as `folder/name` and text.
fn files() -> Vec<(String, String)> {
    let files = folders().into_iter().flat_map(|folder| {
        let names = names(&folder).into_iter();
        names.map(move |name| format!("{folder}/{name}"))
    });
    let texts = files.filter(|name| path(name).is_file());
    texts.map(|name| (name.clone(), text(&name))).collect()
}

/// The words in `text` that look like a variable of ours.
fn variables(text: &str) -> impl Iterator<Item = &str> {
    let words = text.split(|c: char| !(c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_'));
    words.filter(|word| {
        let ours = ["PROXY_", "CODEX_", "SIDECAR_", "TOKEN_", "PROTO_"].iter();
        ours.clone()
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
            assert!(named, "{name} does not say what {file} is");
        }
    }
}

#[test]
fn every_named_variable_exists() {
    let help = output(Command::new(sidecar_binary()).arg("--help"));
    let help = help.expect("the sidecar helps");
    let filter = of_workspace("envoy/filter.yaml");
    let known: BTreeSet<_> = variables(&help).chain(variables(&filter)).collect();
    assert!(known.len() > 30, "{known:?}");
    for (name, text) in files() {
        for variable in variables(&text) {
            let several = || known.iter().any(|known| known.starts_with(variable));
            // PROXY_RATE_LIMIT_* is all that begin so.
            let known = known.contains(variable) || variable.ends_with('_') && several();
            assert!(known, "{name}: {variable}");
        }
    }
    assert!(!known.contains("PROXY_API_KEYS"), "a typo would be found");
}

/// Relative links between the pages, and to what they explain.
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
        let page_folder = path(&name).parent().expect("it has a folder").to_owned();
        for link in page
            .split("](")
            .skip(1)
            .filter_map(|rest| rest.split(')').next())
        {
            if link.starts_with("https://") {
                continue;
            }
            links += 1;
            assert!(page_folder.join(link).exists(), "{name}: {link}");
        }
    }
    assert!(links > 7);
}
