//! Folders that a start needs: whether they can be had, and having them.
//! Permissions are POSIX's; access(2) is asked for the effective user, as mkdir(2) and open(2) decide.

use std::io;
use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::unistd::{AccessFlags, eaccess};

use super::error::LaunchError;

/// Makes the folder if need be, and closes it to everybody else.
pub(in crate::codex) fn private_folder(folder: &Path) -> Result<PathBuf, LaunchError> {
    let failed = |error| LaunchError::Folder(folder.to_owned(), error);
    let mut builder = std::fs::DirBuilder::new();
    builder
        .recursive(true)
        .mode(0o700)
        .create(folder)
        .map_err(failed)?;
    let private = std::fs::Permissions::from_mode(0o700);
    std::fs::set_permissions(folder, private).map_err(failed)?;
    folder.canonicalize().map_err(failed)
}

/// Makes the folder if need be.
pub(in crate::codex) fn existing_folder(folder: &Path) -> Result<PathBuf, LaunchError> {
    let failed = |error| LaunchError::Folder(folder.to_owned(), error);
    std::fs::create_dir_all(folder).map_err(failed)?;
    folder.canonicalize().map_err(failed)
}

/// Whether files can be made in `folder`, or in the nearest one above it that exists, in which it would be made.
///
/// # Errors
/// They cannot.
pub fn can_be_filled(folder: &Path) -> io::Result<()> {
    if folder.as_os_str().is_empty() {
        return can_be_filled(Path::new("."));
    }
    match std::fs::metadata(folder) {
        Ok(found) if !found.is_dir() => Err(io::ErrorKind::NotADirectory.into()),
        Ok(_) => eaccess(folder, AccessFlags::W_OK | AccessFlags::X_OK).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => match folder.parent() {
            Some(above) => can_be_filled(above),
            None => Err(error),
        },
        Err(error) => Err(error),
    }
}

/// Whether `file` can be appended to, or made with the folders above it.
///
/// # Errors
/// It cannot.
pub fn can_be_appended(file: &Path) -> io::Result<()> {
    match std::fs::metadata(file) {
        Ok(found) if found.is_dir() => Err(io::ErrorKind::IsADirectory.into()),
        Ok(_) => eaccess(file, AccessFlags::W_OK).map_err(io::Error::from),
        Err(_) => can_be_filled(file.parent().unwrap_or(file)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_that_cannot_be_made_is_known_before() {
        let parent = tempfile::tempdir().unwrap();
        std::fs::write(parent.path().join("file"), "").unwrap();
        for (below, expected) in [
            ("", None),
            ("new/and/deep", None),
            ("file", Some(io::ErrorKind::NotADirectory)),
            ("file/below", Some(io::ErrorKind::NotADirectory)),
        ] {
            let found = can_be_filled(&parent.path().join(below));
            assert_eq!(
                found.map_err(|error| error.kind()).err(),
                expected,
                "{below}"
            );
            let made = existing_folder(&parent.path().join(below));
            assert_eq!(
                made.is_ok(),
                expected.is_none(),
                "{below} is made accordingly"
            );
        }
        assert!(can_be_filled(Path::new("relative/folder")).is_ok());
        assert!(can_be_appended(Path::new("file")).is_ok());
        assert!(can_be_appended(&parent.path().join("file")).is_ok());
        for below in ["", "file/below"] {
            assert!(can_be_appended(&parent.path().join(below)).is_err());
        }
    }
}
