//! The home of one child, with the operator's login and provider and nothing else of the operator's home.
//! Codex 0.42 always writes a transcript to `sessions/`, and leaves folders behind in TMPDIR, so each child has a home
//! that is removed at its exit.

use std::ffi::OsString;
use std::io;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::command_line::INSTRUCTIONS;
use super::confine::AllowedPaths;
use crate::codex::launch::Launch;
use crate::codex::launch::arguments::HOME_VARIABLE;

/// The file with the login, which Codex 0.42 rewrites in place, through a link.
const LOGIN: &str = "auth.json";

/// The home of one child. Dropping it removes the folder; the child must have exited by then.
#[derive(Debug)]
pub(super) struct ChildHome {
    folder: TempDir,
    operators_home: PathBuf,
}

impl ChildHome {
    /// Creates a home in the private folder of `launch`.
    ///
    /// # Errors
    /// The folder cannot be created, or the operator's `config.toml` is not valid any more.
    pub(super) fn create(launch: &Launch) -> io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("child-")
            .tempdir_in(launch.private_dir())?;
        let home = Self {
            folder,
            operators_home: launch.home().to_owned(),
        };
        launch.write_plain_home(home.path())?;
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
            (HOME_VARIABLE.into(), self.path().into()),
            ("TMPDIR".into(), self.temporary().into()),
        ]
    }

    /// Returns the paths that the child may access.
    pub(super) fn allowed_paths(&self) -> AllowedPaths {
        AllowedPaths {
            folder: self.path().to_owned(),
            rewritten: self.operators_home.join(LOGIN),
        }
    }
}
