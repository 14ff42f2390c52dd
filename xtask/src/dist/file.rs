//! Files of a release: their version, and reading and writing with the path in each error.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};

/// The version of the release, which is that of the workspace.
pub(super) const VERSION: &str = env!("CARGO_PKG_VERSION");

pub(super) fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}

pub(super) fn write(path: &Path, content: &[u8]) -> Result<()> {
    fs::write(path, content).with_context(|| format!("cannot write {}", path.display()))
}
