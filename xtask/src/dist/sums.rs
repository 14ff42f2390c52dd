//! `SHA256SUMS`: the sums of the files of a release, as `sha256sum --check` reads them.

use std::fmt::Write;
use std::fs;
use std::path::Path;

use anyhow::Result;
use sha2::{Digest, Sha256};

use super::file::{read, write as write_file};

/// Writes the sums of the files in `out`.
pub(super) fn write(out: &Path) -> Result<()> {
    let mut names = Vec::new();
    for entry in fs::read_dir(out)? {
        names.push(entry?.file_name().to_string_lossy().into_owned());
    }
    names.sort();
    let mut sums = String::new();
    for name in names {
        let sum = hex::encode(Sha256::digest(read(&out.join(&name))?));
        writeln!(sums, "{sum}  {name}")?;
    }
    write_file(&out.join("SHA256SUMS"), sums.as_bytes())
}
