//! The parsed files of a crate.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::members::Member;
use super::module_tree::{self, ModuleFile};
use super::tokens::FileTokens;

/// Crates that hold nothing but tests, so that limits on product code do not apply.
const TEST_CRATES: &[&str] = &["fuzz", "tests"];

/// Characters of a source line in a report; a longer line is cut there.
const SHOWN_CHARS: usize = 120;

/// A crate with its parsed files.
pub(super) struct CrateSource {
    pub(super) name: String,
    pub(super) is_test_crate: bool,
    /// Folder of the crate, below the root of the checkout.
    pub(super) dir: PathBuf,
    pub(super) root: PathBuf,
    pub(super) files: Vec<SourceFile>,
}

/// A file of a crate.
pub(super) struct SourceFile {
    /// Path below the root of the checkout.
    pub(super) path: PathBuf,
    pub(super) text: String,
    pub(super) syntax: syn::File,
    pub(super) tokens: FileTokens,
    /// Place of the file in its module tree; empty for the crate root.
    pub(super) module: Vec<String>,
    /// Number of the library, program or test that the file belongs to.
    pub(super) target: usize,
    /// Whether only tests compile the file.
    pub(super) is_test: bool,
}

/// A line of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Place {
    /// Path below the root of the checkout.
    pub(super) path: PathBuf,
    /// Counted from 1; 0 stands for the whole file or folder.
    pub(super) line: usize,
    pub(super) text: String,
}

impl CrateSource {
    /// Parses the files of `member` in the checkout at `root`.
    pub(super) fn read(root: &Path, member: &Member) -> Result<Self> {
        let mut files = Vec::new();
        let mut paths = BTreeSet::new();
        for (number, target) in member.targets.iter().enumerate() {
            for file in module_tree::read(target)? {
                // Several test programs may share a module file.
                if paths.insert(file.path.clone()) {
                    files.push(SourceFile::of(file, root, number));
                }
            }
        }
        Ok(Self {
            name: member.name.clone(),
            is_test_crate: TEST_CRATES.contains(&&*member.name),
            dir: below(root, &member.dir),
            root: root.to_owned(),
            files,
        })
    }

    /// Files with product code.
    pub(super) fn product_files(&self) -> impl Iterator<Item = &SourceFile> {
        self.files.iter().filter(|file| !file.is_test)
    }
}

impl SourceFile {
    fn of(file: ModuleFile, root: &Path, target: usize) -> Self {
        Self {
            path: below(root, &file.path),
            text: file.text,
            syntax: file.syntax,
            tokens: file.tokens,
            module: file.module,
            target,
            is_test: file.is_test,
        }
    }

    /// Whether only tests compile the item at `line`.
    pub(super) fn is_test_line(&self, line: usize) -> bool {
        self.is_test || self.tokens.is_test_line(line)
    }

    /// The place of a line, with the line's text.
    pub(super) fn place(&self, line: usize) -> Place {
        let text = self.text.lines().nth(line.saturating_sub(1));
        let shown = text.unwrap_or_default().trim().chars().take(SHOWN_CHARS);
        self.place_of(line, shown.collect::<String>())
    }

    /// The place of a line, with a text of the caller's.
    pub(super) fn place_of(&self, line: usize, text: impl Into<String>) -> Place {
        Place {
            path: self.path.clone(),
            line,
            text: text.into(),
        }
    }
}

fn below(root: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(root).unwrap_or(path).to_owned()
}
