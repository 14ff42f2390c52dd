//! Folders with more files than a reader takes in at once.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use crate::check::style::figure::Figure;
use crate::check::style::source::{CrateSource, Place};

/// Rust files directly in a folder.
pub(super) const MAX_FILES: usize = 12;

pub(super) fn largest(source: &CrateSource) -> Figure {
    let mut folders = BTreeMap::new();
    for part in ["src", "tests", "benches"] {
        count(&source.root.join(&source.dir).join(part), &mut folders);
    }
    let largest = folders.values().copied().max().unwrap_or(0);
    let over = folders.into_iter().filter(|(_, files)| *files > MAX_FILES);
    let places = over.map(|(folder, files)| Place {
        path: folder
            .strip_prefix(&source.root)
            .unwrap_or(&folder)
            .to_owned(),
        line: 0,
        text: format!("{files} files"),
    });
    Figure {
        value: largest as f64,
        places: places.collect(),
    }
}

fn count(folder: &Path, folders: &mut BTreeMap<PathBuf, usize>) {
    // A crate has some of the folders only.
    for entry in fs::read_dir(folder).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            count(&path, folders);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            *folders.entry(folder.to_owned()).or_insert(0) += 1;
        }
    }
}
