//! The folder of fetched tools and clients.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

use super::pins::Tool;
use super::{archive, clients, store};
use crate::workspace;

/// The folder with the fetched tools.
#[derive(Debug, Clone)]
pub struct Tools {
    dir: PathBuf,
}

impl Tools {
    /// The folder of `CODEX_EDGE_TOOLS`, or `.tools/` in the workspace.
    pub fn open() -> Self {
        let dir = match env::var_os("CODEX_EDGE_TOOLS") {
            Some(dir) => workspace::absolute(dir.into()),
            None => workspace::root().join(".tools"),
        };
        Self { dir }
    }

    /// Fetches the missing ones of `tools`.
    ///
    /// # Errors
    /// When a package client is missing or fails, a checksum differs, or the folder cannot be written.
    pub fn fetch(&self, tools: &[Tool]) -> Result<()> {
        // Two commands may fetch at the same time; the second one waits here and then finds the tools complete.
        let _lock = store::lock(&self.dir)?;
        for &tool in tools {
            let pin = tool.pin()?;
            let home = self.dir.join(format!("{}-{}", tool.name(), pin.version));
            // The sum is the stamp: a changed archive of the same version is fetched again.
            store::complete(&home, pin.sha256, |dir| archive::unpack_into(dir, pin))?;
            store::link(&self.link(tool), &home.join(pin.executable))?;
        }
        Ok(())
    }

    /// Fetches the SDK clients of the tests.
    ///
    /// # Errors
    /// As for [`Tools::fetch`].
    pub fn fetch_clients(&self) -> Result<()> {
        let _lock = store::lock(&self.dir)?;
        clients::install_python(&self.dir.join("python"))?;
        clients::install_node(&self.node())
    }

    /// The pinned executable.
    ///
    /// # Errors
    /// When the tool was not fetched.
    pub fn executable(&self, tool: Tool) -> Result<PathBuf> {
        self.present(self.link(tool))
    }

    /// The Python interpreter with the pinned clients.
    ///
    /// # Errors
    /// When the clients were not fetched.
    pub fn python(&self) -> Result<PathBuf> {
        self.present(self.dir.join("python/bin/python"))
    }

    /// The folder with the pinned clients in `node_modules`.
    ///
    /// # Errors
    /// When the clients were not fetched.
    pub fn node_clients(&self) -> Result<PathBuf> {
        self.present(self.node().join("node_modules"))?;
        Ok(self.node())
    }

    /// Path of the folder.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn link(&self, tool: Tool) -> PathBuf {
        self.dir.join("bin").join(tool.name())
    }

    fn node(&self) -> PathBuf {
        self.dir.join("node")
    }

    fn present(&self, path: PathBuf) -> Result<PathBuf> {
        ensure!(
            path.exists(),
            "{} is missing: run `cargo xtask fetch`",
            path.display()
        );
        Ok(path)
    }
}
