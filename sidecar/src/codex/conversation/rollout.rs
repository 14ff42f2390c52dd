//! The rollout file of a rebuilt thread: the sidecar writes its beginning, Codex adds to it, and the sidecar reads what Codex
//! adds.
//!
//! Read and written where the lines of the child are handled, without a task: the files are small, and in the page cache. A
//! task would let the child's next line overtake the records that stand before it.

use std::fs;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use super::id::ConversationId;
use crate::private_dir;

/// Bytes that one look at the file reads at most, so that the records of a long answer do not hold up the other turns.
const MAX_READ: u64 = 4 << 20;

/// The folder below which Codex accepts rollout files.
const FOLDER: &str = "sessions";

/// The place of a rollout file that is not written yet.
#[derive(Debug)]
pub(in crate::codex) struct RolloutPlace {
    /// The id of the thread.
    pub(in crate::codex) thread: String,
    path: PathBuf,
}

impl RolloutPlace {
    /// Returns a place for a new thread of the child with this home.
    pub(in crate::codex) fn new(home: &Path) -> Self {
        let thread = ConversationId::random().to_string();
        // Codex finds the id in the name; it does not compare the time.
        let name = format!("rollout-2025-01-01T00-00-00-{thread}.jsonl");
        Self {
            path: home.join(FOLDER).join(name),
            thread,
        }
    }

    /// Writes the file.
    ///
    /// # Errors
    /// The home is not writable.
    pub(in crate::codex) fn write(self, text: &[u8]) -> io::Result<Rollout> {
        if let Some(folder) = self.path.parent() {
            private_dir::create(folder)?;
        }
        let written = fs::File::options()
            .write(true)
            .create_new(true)
            .mode(0o600)
            .open(&self.path)
            .and_then(|mut file| file.write_all(text));
        // From here on the file is removed with `Rollout`.
        let rollout = Rollout {
            path: self.path,
            read: text.len() as u64,
        };
        written.map(|()| rollout)
    }
}

/// A rollout file. Dropping it removes the file, if Codex has not.
#[derive(Debug)]
pub(in crate::codex) struct Rollout {
    path: PathBuf,
    /// Bytes in front of the first line that has not been read.
    read: u64,
}

impl Rollout {
    pub(in crate::codex) fn path(&self) -> &Path {
        &self.path
    }

    /// Skips the records so far: those of the history that was injected.
    pub(in crate::codex) fn skip(&mut self) {
        if let Ok(file) = fs::metadata(&self.path) {
            self.read = self.read.max(file.len());
        }
    }

    /// Returns the complete lines that were added since the last look.
    ///
    /// # Errors
    /// The file is gone, or is not text.
    pub(in crate::codex) fn read_new(&mut self) -> io::Result<String> {
        let mut file = fs::File::open(&self.path)?;
        file.seek(SeekFrom::Start(self.read))?;
        let mut added = Vec::new();
        file.take(MAX_READ).read_to_end(&mut added)?;
        let end = added.iter().rposition(|byte| *byte == b'\n');
        added.truncate(end.map_or(0, |end| end + 1));
        self.read += added.len() as u64;
        String::from_utf8(added).map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))
    }
}

impl Drop for Rollout {
    fn drop(&mut self) {
        match fs::remove_file(&self.path) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => tracing::warn!(%error, "rollout file removal failed"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_lines_are_read_once_and_the_file_is_removed() {
        let home = tempfile::tempdir().unwrap();
        let place = RolloutPlace::new(home.path());
        let mut rollout = place.write(b"own\n").unwrap();
        let path = rollout.path().to_owned();
        let add = |text: &str| {
            let mut file = fs::File::options().append(true).open(&path).unwrap();
            file.write_all(text.as_bytes()).unwrap();
        };
        assert_eq!(rollout.read_new().unwrap(), "");
        add("history\n");
        rollout.skip();
        add("a\nb");
        assert_eq!(rollout.read_new().unwrap(), "a\n");
        assert_eq!(rollout.read_new().unwrap(), "");
        add("c\n");
        assert_eq!(rollout.read_new().unwrap(), "bc\n");
        drop(rollout);
        assert!(!path.exists());
    }

    #[test]
    fn file_that_codex_has_removed_is_an_error_of_the_next_look_only() {
        let home = tempfile::tempdir().unwrap();
        let mut rollout = RolloutPlace::new(home.path()).write(b"").unwrap();
        fs::remove_file(rollout.path()).unwrap();
        rollout.skip();
        assert!(rollout.read_new().is_err());
    }

    #[test]
    fn places_differ_and_a_folder_that_cannot_be_written_is_an_error() {
        let home = tempfile::tempdir().unwrap();
        let (first, second) = (
            RolloutPlace::new(home.path()),
            RolloutPlace::new(home.path()),
        );
        assert_ne!(first.thread, second.thread);
        fs::write(home.path().join(FOLDER), "a file").unwrap();
        assert!(first.write(b"").is_err());
    }
}
