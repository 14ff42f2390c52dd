//! Archives that depend neither on the machine nor on the time: POSIX ustar, in gzip without a time stamp.

use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use flate2::{Compression, GzBuilder};

use super::bundle::Bundle;
use super::file;

/// Writes the bundle as an archive with one folder.
pub(super) fn write(out: &Path, name: &str, bundle: &Bundle) -> Result<()> {
    let mut archive = tar::Builder::new(Vec::new());
    for part in &bundle.files {
        add(
            &mut archive,
            &format!("{name}/{}", part.name),
            &part.content,
            part.mode,
        )?;
    }
    add(
        &mut archive,
        &format!("{name}/LICENSE"),
        &bundle.license,
        0o644,
    )?;
    let bill = format!("{name}/codex-edge.cdx.json");
    add(&mut archive, &bill, &bundle.bill, 0o644)?;
    let compressed = gzip(&archive.into_inner()?)?;
    file::write(&out.join(format!("{name}.tar.gz")), &compressed)
}

/// An archive of the files below a folder, by path.
pub(super) fn of_folder(folder: &Path) -> Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    for path in files(folder)? {
        let name = path.strip_prefix(folder)?.to_string_lossy().into_owned();
        add(&mut archive, &name, &file::read(&path)?, 0o644)?;
    }
    Ok(archive.into_inner()?)
}

/// Writes the archive of a folder that may be larger than the memory.
pub(super) fn write_folder(path: &Path, folder: &Path) -> Result<()> {
    let file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    let mut archive = tar::Builder::new(file);
    for path in files(folder)? {
        let file = File::open(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let mut header = header(file.metadata()?.len(), 0o644);
        archive.append_data(&mut header, path.strip_prefix(folder)?, file)?;
    }
    archive.into_inner()?;
    Ok(())
}

/// Compresses an archive.
pub(super) fn gzip(content: &[u8]) -> Result<Vec<u8>> {
    let mut gzip = GzBuilder::new().write(Vec::new(), Compression::best());
    gzip.write_all(content)?;
    Ok(gzip.finish()?)
}

fn add(archive: &mut tar::Builder<Vec<u8>>, name: &str, content: &[u8], mode: u32) -> Result<()> {
    let mut header = header(u64::try_from(content.len())?, mode);
    archive.append_data(&mut header, name, content)?;
    Ok(())
}

fn header(size: u64, mode: u32) -> tar::Header {
    let mut header = tar::Header::new_ustar();
    header.set_size(size);
    header.set_mode(mode);
    header.set_mtime(0);
    header
}

fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            found.extend(files(&path)?);
        } else {
            found.push(path);
        }
    }
    found.sort();
    Ok(found)
}
