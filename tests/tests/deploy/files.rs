//! The files below `deploy/`, as text and as YAML.
//! YAML 1.2.2, by way of serde-saphyr.

use std::fs;
use std::path::{Path, PathBuf};

use serde::de::DeserializeOwned;
use serde_json::Value;
use xtask::workspace;

/// A path below `deploy/`.
pub(crate) fn path(name: &str) -> PathBuf {
    workspace::root().join("deploy").join(name)
}

/// A file below `deploy/`.
pub(crate) fn text(name: &str) -> String {
    read(&path(name))
}

/// A file of the workspace.
pub(crate) fn of_workspace(name: &str) -> String {
    read(&workspace::root().join(name))
}

/// The only document of a YAML text.
pub(crate) fn yaml(text: &str) -> Value {
    parse(text).unwrap_or_else(|error| panic!("{error}"))
}

/// The only document of a YAML text, as `T` wants it.
pub(crate) fn parse<T: DeserializeOwned>(text: &str) -> Result<T, String> {
    serde_saphyr::from_str(text).map_err(|error| error.to_string())
}

/// The names in a folder below `deploy/`, in order.
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
