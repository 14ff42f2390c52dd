//! The SDK clients of the tests, pinned with all dependencies.
//! The pins are in `tests/clients/python/requirements.txt` and `tests/clients/node/package-lock.json`.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use codex_edge::report;

use super::{archive, store};
use crate::command::output;
use crate::workspace;

/// Creates the virtual environment `dir` with the pinned packages.
pub(super) fn install_python(dir: &Path) -> Result<()> {
    let requirements = workspace::root().join("tests/clients/python/requirements.txt");
    let sum = archive::sha256_hex(&requirements)?;
    let python = output(Command::new("python3").arg("--version"))?;
    // A virtual environment is bound to its Python version and its path.
    let stamp = format!("{sum} {} {}", python.trim(), dir.display());
    store::complete(dir, &stamp, |dir| {
        report!("installing the Python clients");
        archive::require_pip()?;
        // Without its own pip the environment is created quickly; the machine's pip fills it.
        output(
            Command::new("python3")
                .args(["-m", "venv", "--without-pip"])
                .arg(dir),
        )?;
        let pip = || {
            let mut pip = Command::new("python3");
            pip.args(["-m", "pip", "--python"])
                .arg(dir.join("bin/python"));
            pip
        };
        // The file lists every dependency. Without `--no-deps`, pip resolves `httpx[http2]` apart from the pinned
        // `httpx`, and fails as soon as the index has a newer version.
        let mut install = pip();
        install.args(["install", "--quiet", "--no-deps", "--require-hashes"]);
        install.args(["--only-binary", ":all:", "-r"]);
        output(install.arg(&requirements)).context("cannot install the Python clients")?;
        output(pip().arg("check"))
            .context("requirements.txt lacks a dependency of the Python clients")?;
        Ok(())
    })
}

/// Installs the pinned packages into `node_modules` of `dir`.
pub(super) fn install_node(dir: &Path) -> Result<()> {
    let source = workspace::root().join("tests/clients/node");
    let stamp = archive::sha256_hex(&source.join("package-lock.json"))?;
    store::complete(dir, &stamp, |dir| {
        report!("installing the Node clients");
        for file in ["package.json", "package-lock.json"] {
            fs::copy(source.join(file), dir.join(file))?;
        }
        let mut npm = Command::new("npm");
        npm.args([
            "ci",
            "--loglevel=error",
            "--ignore-scripts",
            "--no-audit",
            "--no-fund",
        ]);
        output(npm.current_dir(dir)).context("cannot install the Node clients")?;
        Ok(())
    })
}
