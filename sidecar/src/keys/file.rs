//! A `filter.yaml` that is replaced as Envoy requires: a new file, renamed into place.

use std::fs::{self, File, Metadata};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, fchown};
use std::path::{Path, PathBuf};

use nix::fcntl::{Flock, FlockArg};
use tempfile::NamedTempFile;

/// A file that no other `key` command changes meanwhile.
#[derive(Debug)]
pub(super) struct WatchedFile {
    path: PathBuf,
    metadata: Metadata,
    pub(super) text: String,
    /// On the folder, since the file is replaced.
    _lock: Flock<File>,
}

impl WatchedFile {
    /// Reads the file.
    ///
    /// # Errors
    /// The file or its folder cannot be read.
    pub(super) fn open(path: &Path) -> io::Result<Self> {
        // The file behind a link is the one to replace.
        let path = fs::canonicalize(path)?;
        let folder = File::open(path.parent().unwrap_or(&path))?;
        let lock = Flock::lock(folder, FlockArg::LockExclusive).map_err(|(_, error)| error)?;
        Ok(Self {
            metadata: fs::metadata(&path)?,
            text: fs::read_to_string(&path)?,
            path,
            _lock: lock,
        })
    }

    /// Replaces the file. Its mode and its owner stay.
    ///
    /// # Errors
    /// The new file cannot be written beside the old one; the old one is unchanged.
    pub(super) fn replace(self, text: &str) -> io::Result<()> {
        let folder = self.path.parent().unwrap_or(&self.path);
        let mut file = NamedTempFile::new_in(folder)?;
        file.write_all(text.as_bytes())?;
        let (uid, gid) = (self.metadata.uid(), self.metadata.gid());
        let new = file.as_file().metadata()?;
        if (new.uid(), new.gid()) != (uid, gid) {
            fchown(file.as_file(), Some(uid), Some(gid))?;
        }
        file.as_file()
            .set_permissions(self.metadata.permissions())?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        Ok(())
    }
}
