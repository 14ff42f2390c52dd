//! A Codex home for one child, with links to the operator's login and configuration.
//! Codex 0.42 always writes a transcript to `sessions/`, and leaves folders behind in TMPDIR, so each child has a home
//! that is removed at its exit.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::command_line::INSTRUCTIONS;
use super::confine::AllowedPaths;

/// Files of the operator that are linked.
const LOGIN: &str = "auth.json";
const CONFIGURATION: &str = "config.toml";

/// The home of one child. Dropping it removes the folder; the child must have exited by then.
#[derive(Debug)]
pub(super) struct ChildHome {
    folder: TempDir,
    operators_home: PathBuf,
}

impl ChildHome {
    /// Creates a home in `parent`, with links to the operator's files.
    ///
    /// # Errors
    /// The folder cannot be created.
    pub(super) fn create(parent: &Path, operators_home: &Path) -> io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("child-")
            .tempdir_in(parent)?;
        let home = Self {
            folder,
            operators_home: operators_home.to_owned(),
        };
        // Links and not copies: Codex writes a renewed credential in place, which renews it for all children.
        for name in [LOGIN, CONFIGURATION] {
            symlink(operators_home.join(name), home.path().join(name))?;
        }
        std::fs::create_dir(home.temporary())?;
        std::fs::write(home.instructions(), INSTRUCTIONS)?;
        Ok(home)
    }

    fn path(&self) -> &Path {
        self.folder.path()
    }

    fn temporary(&self) -> PathBuf {
        self.path().join("tmp")
    }

    /// Returns the path of the file with the sidecar's instructions.
    pub(super) fn instructions(&self) -> PathBuf {
        self.path().join("instructions.md")
    }

    /// Returns the variables that make a child use this home.
    pub(super) fn environment(&self) -> [(OsString, OsString); 2] {
        [
            ("CODEX_HOME".into(), self.path().into()),
            ("TMPDIR".into(), self.temporary().into()),
        ]
    }

    /// Returns the paths that the child may access.
    pub(super) fn allowed_paths(&self) -> AllowedPaths {
        AllowedPaths {
            folder: self.path().to_owned(),
            rewritten: self.operators_home.join(LOGIN),
            read: self.operators_home.join(CONFIGURATION),
        }
    }
}
