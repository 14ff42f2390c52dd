//! A folder of this process that is removed at the end, whatever a child has put into it.
//! `fs::remove_dir_all` stops at a folder without permissions, and takes a descriptor for each level of a deep one.

use std::ffi::{CStr, CString};
use std::fs::{self, Permissions};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use nix::dir::{Dir, Type};
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, OFlag, openat, renameat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

/// Bytes that an entry of a folder counts at least, so that empty files count too: a block of most file systems.
const ENTRY_BYTES: u64 = 4096;

/// Number of folders that are created, one after the other, if another sidecar removes each before it is locked.
const CREATE_ATTEMPTS: usize = 10;

/// A folder with mode 0700, locked as long as its owner runs. Dropping it removes the folder.
#[derive(Debug)]
pub struct OwnedFolder {
    path: PathBuf,
    /// `None` on a file system without locks, where no sidecar judges the folder.
    _lock: Option<FolderLock>,
}

impl OwnedFolder {
    /// Creates a folder in `parent` with a random name after `prefix`.
    ///
    /// # Errors
    /// `parent` is not writable.
    pub fn create_in(parent: &Path, prefix: &str) -> io::Result<Self> {
        for _ in 0..CREATE_ATTEMPTS {
            let folder = tempfile::Builder::new().prefix(prefix).tempdir_in(parent)?;
            let path = folder.keep();
            let lock = FolderLock::take(&path);
            // A sidecar that starts meanwhile may find the folder before the lock, and remove it as an orphan.
            if path.is_dir() && !matches!(lock, Err(Errno::EWOULDBLOCK)) {
                let lock = lock.ok();
                return Ok(Self { path, _lock: lock });
            }
        }
        Err(io::Error::other("another process removes new folders"))
    }

    /// Returns the path.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for OwnedFolder {
    fn drop(&mut self) {
        if let Err(error) = remove_folder(&self.path) {
            tracing::error!(%error, folder = %self.path.display(), "folder removal failed");
        }
    }
}

/// The lock of a folder (flock(2)). The kernel releases it when the process with the lock ends, also in another pid namespace;
/// children do not inherit its descriptor.
#[derive(Debug)]
pub(super) struct FolderLock {
    _lock: Flock<OwnedFd>,
}

impl FolderLock {
    /// Locks the folder for this process.
    ///
    /// # Errors
    /// `EWOULDBLOCK` if another process has the lock; others if the file system has no locks, or the folder cannot be read.
    pub(super) fn take(folder: &Path) -> Result<Self, Errno> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let folder = openat(AT_FDCWD, folder, flags, Mode::empty())?;
        let lock = Flock::lock(folder, FlockArg::LockExclusiveNonblock);
        lock.map(|lock| Self { _lock: lock })
            .map_err(|(_folder, error)| error)
    }
}

/// Removes a folder and its contents, whatever their permissions, and follows no symbolic link. A folder that does not
/// exist counts as removed.
///
/// # Errors
/// An entry belongs to another user, or the file system is read-only.
pub fn remove_folder(path: &Path) -> io::Result<()> {
    let top = match open_folder(AT_FDCWD, path) {
        Ok(top) => top,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error),
    };
    let mut moved: u64 = 0;
    // Each round removes one level: the folders of the second level move up. No depth takes more descriptors.
    loop {
        let folders = remove_files(&top)?;
        if folders.is_empty() {
            return fs::remove_dir(path);
        }
        for name in &folders {
            let folder = open_folder(&top, name.as_c_str())?;
            for nested in remove_files(&folder)? {
                // A folder can be moved only by a process that may write into the folder.
                open_folder(&folder, nested.as_c_str())?;
                move_up(&folder, &nested, &top, &mut moved)?;
            }
            unlinkat(&top, name.as_c_str(), UnlinkatFlags::RemoveDir)?;
        }
    }
}

/// Opens a folder after giving its owner all permissions.
fn open_folder(parent: impl AsFd, name: &(impl nix::NixPath + ?Sized)) -> io::Result<OwnedFd> {
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    // O_PATH needs no permission. fchmod(2) refuses such a descriptor; the path below /proc names the same folder.
    let place = openat(&parent, name, flags | OFlag::O_PATH, Mode::empty())?;
    let path = format!("/proc/self/fd/{}", place.as_raw_fd());
    fs::set_permissions(path, Permissions::from_mode(0o700))?;
    Ok(openat(&parent, name, flags, Mode::empty())?)
}

/// Removes the files in `folder`, and returns the names of its folders.
fn remove_files(folder: &OwnedFd) -> io::Result<Vec<CString>> {
    let mut folders = Vec::new();
    let mut files = Vec::new();
    for entry in Dir::from_fd(folder.try_clone()?)?.iter() {
        let entry = entry?;
        let name = entry.file_name();
        match entry.file_type() {
            Some(Type::Directory) if name == c"." || name == c".." => {}
            Some(Type::Directory) => folders.push(name.to_owned()),
            // Without a type, unlinkat(2) tells a folder by its error.
            Some(_) | None => files.push(name.to_owned()),
        }
    }
    for name in files {
        match unlinkat(folder, name.as_c_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(Errno::EISDIR | Errno::EPERM) => folders.push(name),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(folders)
}

/// Moves a folder to the first level, under a name that is free there.
fn move_up(from: &OwnedFd, name: &CStr, top: &OwnedFd, moved: &mut u64) -> io::Result<()> {
    loop {
        *moved += 1;
        match renameat(from, name, top, format!("{moved}").as_str()) {
            Ok(()) => return Ok(()),
            // Not free. An empty folder of that name would be replaced, which removes it.
            Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

/// Returns the bytes that a folder and its contents take on the disk. Follows no symbolic link.
///
/// # Errors
/// A folder in it cannot be read, so that its size is unknown.
pub fn folder_bytes(path: &Path) -> io::Result<u64> {
    let mut bytes: u64 = 0;
    let mut folders = vec![path.to_owned()];
    while let Some(folder) = folders.pop() {
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            // Removed since its parent was read.
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error),
        };
        for entry in entries {
            let entry = entry?;
            // `metadata` of an entry does not follow a link; it fails for an entry that was removed meanwhile.
            let Ok(metadata) = entry.metadata() else {
                continue;
            };
            bytes = bytes.saturating_add((metadata.blocks() * 512).max(ENTRY_BYTES));
            if metadata.is_dir() {
                folders.push(entry.path());
            }
        }
    }
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn folder_is_removed_whatever_its_modes_and_links() {
        let parent = tempfile::tempdir().unwrap();
        let outside = parent.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        fs::set_permissions(&outside, Permissions::from_mode(0o755)).unwrap();
        let folder = OwnedFolder::create_in(parent.path(), "turn-").unwrap();
        let locked = folder.path().join("locked");
        fs::create_dir_all(locked.join("deeper/1")).unwrap();
        fs::write(locked.join("deeper/file"), "").unwrap();
        symlink(&outside, locked.join("link")).unwrap();
        symlink(&outside, folder.path().join("2")).unwrap();
        let read_only = Permissions::from_mode(0o400);
        fs::set_permissions(locked.join("deeper/file"), read_only).unwrap();
        for name in ["deeper/1", "deeper", "."] {
            fs::set_permissions(locked.join(name), Permissions::from_mode(0o000)).unwrap();
        }
        let path = folder.path().to_owned();
        drop(folder);
        assert!(!path.exists());
        assert!(outside.join("kept").exists(), "a link was followed");
        let mode = fs::metadata(&outside).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o755, "a link was followed");
    }

    #[test]
    fn folder_deeper_than_paths_and_descriptors_allow_is_removed() {
        let parent = tempfile::tempdir().unwrap();
        let folder = OwnedFolder::create_in(parent.path(), "turn-").unwrap();
        let mut place = open_folder(AT_FDCWD, folder.path()).unwrap();
        for _ in 0..5000 {
            nix::sys::stat::mkdirat(&place, "d", Mode::from_bits_truncate(0o700)).unwrap();
            place = open_folder(&place, "d").unwrap();
        }
        let path = folder.path().to_owned();
        drop(folder);
        assert!(!path.exists());
    }

    #[test]
    fn size_of_a_folder_counts_empty_files_and_no_link() {
        let folder = tempfile::tempdir().unwrap();
        let outside = tempfile::tempdir().unwrap();
        fs::write(outside.path().join("large"), vec![1; 1 << 20]).unwrap();
        fs::create_dir(folder.path().join("sub")).unwrap();
        for name in ["a", "sub/b"] {
            fs::write(folder.path().join(name), "").unwrap();
        }
        symlink(outside.path(), folder.path().join("link")).unwrap();
        let bytes = folder_bytes(folder.path()).unwrap();
        assert!((4 * ENTRY_BYTES..1 << 20).contains(&bytes), "{bytes}");
        fs::write(folder.path().join("c"), vec![1; 1 << 20]).unwrap();
        assert!(folder_bytes(folder.path()).unwrap() >= 1 << 20);
    }
}
