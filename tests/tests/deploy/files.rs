//! The files below `deploy/`, as text and as YAML. serde-saphyr parses YAML 1.2.2.

use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;
use xtask::workspace;

/// Returns a path below `deploy/`.
pub(crate) fn path(name: &str) -> PathBuf {
    workspace::root().join("deploy").join(name)
}

/// Returns the text of a file below `deploy/`.
pub(crate) fn text(name: &str) -> String {
    read(&path(name))
}

/// Returns the text of a file of the workspace.
pub(crate) fn of_workspace(name: &str) -> String {
    read(&workspace::root().join(name))
}

/// Returns the only document of a YAML text.
pub(crate) fn yaml(text: &str) -> Value {
    parse(text).unwrap_or_else(|error| panic!("{error}"))
}

/// Parses the only document of a YAML text as `T`.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

/// Returns the sorted names of the entries of a folder below `deploy/`.
pub(crate) fn names(folder: &str) -> Vec<String> {
    let entries = fs::read_dir(path(folder)).expect("the folder is in the tree");
    let mut names: Vec<_> = entries
        .map(|entry| entry.expect("the folder is readable").file_name())
        .map(|name| name.into_string().expect("names are ASCII"))
        .collect();
    names.sort();
    names
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}
