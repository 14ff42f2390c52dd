//! Folders that only the sidecar's user can open, whatever the umask of the shell that started the sidecar.

use std::fs::DirBuilder;
use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;

/// Creates the folder and its missing parents with mode 0700. An existing folder keeps its mode.
///
/// # Errors
/// The folder cannot be created.
pub(crate) fn create(folder: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(folder)
}
