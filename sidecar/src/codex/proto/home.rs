//! A Codex home for one child: its login and configuration are the operator's, all that it writes is its own.
//! Codex 0.42 writes a transcript to `sessions/` whatever it is told, and folders to TMPDIR that it leaves behind.

use std::ffi::OsString;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use super::command_line::INSTRUCTIONS;
use super::confine::Reach;

/// What is the operator's.
const LOGIN: &str = "auth.json";
const CONFIGURATION: &str = "config.toml";

/// The folder; removed with all that is in it when it is dropped, which should be after the child has ended.
#[derive(Debug)]
pub(super) struct ChildHome {
    folder: TempDir,
    operators: PathBuf,
}

impl ChildHome {
    /// A home in `parent`. The files of `operators` are linked, so that a credential that the child renews is renewed
    /// for all: Codex writes it in place.
    ///
    /// # Errors
    /// The folder cannot be made.
    pub(super) fn make(parent: &Path, operators: &Path) -> io::Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("child-")
            .tempdir_in(parent)?;
        let home = Self {
            folder,
            operators: operators.to_owned(),
        };
        for name in [LOGIN, CONFIGURATION] {
            symlink(operators.join(name), home.path().join(name))?;
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

    /// The file with our instructions.
    pub(super) fn instructions(&self) -> PathBuf {
        self.path().join("instructions.md")
    }

    /// The variables that make a child live in it.
    pub(super) fn environment(&self) -> [(OsString, OsString); 2] {
        [
            ("CODEX_HOME".into(), self.path().into()),
            ("TMPDIR".into(), self.temporary().into()),
        ]
    }

    /// The places that are the child's.
    pub(super) fn reach(&self) -> Reach {
        Reach {
            folder: self.path().to_owned(),
            rewritten: self.operators.join(LOGIN),
            read: self.operators.join(CONFIGURATION),
        }
    }
}
