//! Folders that a launch needs: creating them, and checking in advance that they can be created.
//! Permissions are POSIX's. The checks use the effective user (`eaccess`), as mkdir(2) and open(2) do.

use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, eaccess};

use super::error::LaunchError;
use crate::private_dir;

/// Creates the folder if it does not exist, and sets its mode to 0700. Returns the canonical path.
pub(in crate::codex) fn create_private_dir(folder: &Path) -> Result<PathBuf, LaunchError> {
    let failed = |error| LaunchError::Folder(folder.to_owned(), error);
    private_dir::create(folder).map_err(failed)?;
    // The mode applies to new folders only; an existing one may be open to others.
    let private = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(folder, private).map_err(failed)?;
    folder.canonicalize().map_err(failed)
}

/// Creates the folder with mode 0700 if it does not exist. Returns the canonical path.
pub(in crate::codex) fn create_dir(folder: &Path) -> Result<PathBuf, LaunchError> {
    let failed = |error| LaunchError::Folder(folder.to_owned(), error);
    private_dir::create(folder).map_err(failed)?;
    folder.canonicalize().map_err(failed)
}

/// Checks that files can be created in `folder`, or in its nearest existing parent if it does not exist yet.
///
/// # Errors
/// Files cannot be created there.
pub fn check_dir_writable(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() {
        return check_dir_writable(Path::new("."));
    }
    match std::fs::metadata(folder) {
        Ok(found) if !found.is_dir() => Err(io::ErrorKind::NotADirectory.into()),
        Ok(_) => eaccess(folder, AccessFlags::W_OK | AccessFlags::X_OK).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match folder.parent() {
            Some(above) => check_dir_writable(above),
            None => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// Checks that `file` can be appended to, or created together with its parent folders.
///
/// # Errors
/// The file can be neither.
pub fn check_file_appendable(file: &Path) -> io::Result<()> {
    match std::fs::metadata(file) {
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => eaccess(file, AccessFlags::W_OK).map_err(io::Error::from),
        Err(_) => check_dir_writable(file.parent().unwrap_or(file)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(folder: &Path) -> u32 {
        std::fs::metadata(folder).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn directory_checks_agree_with_creation() {
        let parent = tempfile::tempdir().unwrap();
        std::fs::write(parent.path().join("file"), "").unwrap();
        for (below, expected) in [
            ("", None),
            ("new/and/deep", None),
            ("file", Some(io::ErrorKind::NotADirectory)),
            ("file/below", Some(io::ErrorKind::NotADirectory)),
        ] {
            let found = check_dir_writable(&parent.path().join(below));
            assert_eq!(
                found.map_err(|error| error.kind()).err(),
                expected,
                "{below}"
            );
            let made = create_dir(&parent.path().join(below));
            if let (Ok(folder), "new/and/deep") = (&made, below) {
                let modes = folder.ancestors().take(3).map(mode);
                assert_eq!(
                    modes.collect::<Vec<_>>(),
                    [0o700; 3],
                    "new folders are private"
                );
            }
            assert_eq!(
                made.is_ok(),
                expected.is_none(),
                "{below}: creation agrees with the check"
            );
        }
        assert!(check_dir_writable(Path::new("relative/folder")).is_ok());
        assert!(check_file_appendable(Path::new("file")).is_ok());
        assert!(check_file_appendable(&parent.path().join("file")).is_ok());
        for below in ["", "file/below"] {
            assert!(check_file_appendable(&parent.path().join(below)).is_err());
        }
    }
}
