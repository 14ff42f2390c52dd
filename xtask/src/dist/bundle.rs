//! The files that `codex-edge` has beside itself, in the archive and in the wheel alike.

use std::path::{Path, PathBuf};

use anyhow::Result;

use super::file::read;
use crate::workspace;

/// A file of the bundle.
#[derive(Debug)]
pub(super) struct BundledFile {
    pub(super) name: String,
    pub(super) content: Vec<u8>,
    /// The permission bits.
    pub(super) mode: u32,
}

/// The programs, the filter and the configurations, and the texts about them.
#[derive(Debug)]
pub(super) struct Bundle {
    pub(super) files: Vec<BundledFile>,
    pub(super) license: Vec<u8>,
    /// The bill of materials of the programs.
    pub(super) bill: Vec<u8>,
}

impl Bundle {
    pub(super) fn read(programs: &[PathBuf], bill: Vec<u8>) -> Result<Self> {
        let mut files = Vec::new();
        for program in programs {
            files.push(BundledFile::read(program, 0o755)?);
        }
        let configuration = workspace::configuration();
        for file in [
            workspace::filter_wasm(),
            configuration.join("envoy.yaml"),
            configuration.join("filter.yaml"),
        ] {
            files.push(BundledFile::read(&file, 0o644)?);
        }
        let license = read(&workspace::root().join("LICENSE"))?;
        Ok(Self {
            files,
            license,
            bill,
        })
    }
}

impl BundledFile {
    fn read(path: &Path, mode: u32) -> Result<Self> {
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        Ok(Self {
            name: name.into_owned(),
            content: read(path)?,
            mode,
        })
    }
}
