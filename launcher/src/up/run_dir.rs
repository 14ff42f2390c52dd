//! The private folder of a run: claimed by one process, emptied before the run and removed after it.
//! The claim is a flock(2) on the folder itself, which the kernel releases when the process ends for any reason.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag};
use nix::unistd;

use crate::report;

/// Longest path of a Unix socket in bytes: `sun_path` of unix(7) less its final zero.
const SOCKET_PATH_MAX: usize = 107;
/// The longest name of a socket in the folder, with its slash.
const SOCKET_NAME: &str = "/envoy-admin.sock";

/// A claimed folder; dropping the value removes the folder.
#[derive(Debug)]
pub(crate) struct RunDir {
    path: PathBuf,
    _lock: Flock<File>,
}

impl RunDir {
    /// Claims `path` and empties it.
    ///
    /// # Errors
    /// When another process has claimed the folder (the message has its pid), or the folder is a link, belongs to another
    /// user, or is accessible to other users.
    pub(crate) fn claim(path: &Path) -> Result<Self> {
        ensure!(
            path.as_os_str().len() + SOCKET_NAME.len() <= SOCKET_PATH_MAX,
            "{} is too long for sockets inside: set TMPDIR to a shorter path",
            path.display()
        );
        loop {
            let lock = lock(open(path)?, path)?;
            // The previous run may have removed the folder between `open` and `lock`: claim the next one.
            if fs::symlink_metadata(path).is_ok_and(|found| same(&found, &lock)) {
                empty(path)?;
                fs::write(path.join("pid"), unistd::getpid().to_string())?;
                return Ok(Self {
                    path: path.to_owned(),
                    _lock: lock,
                });
            }
        }
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RunDir {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_dir_all(&self.path) {
            report!("cannot remove {}: {error}", self.path.display());
        }
    }
}

/// Opens the folder without following links; a missing folder is created first.
fn open(path: &Path) -> Result<File> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| format!("cannot create {}", path.display()));
        }
        Ok(()) | Err(_) => {}
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW;
    let opened = OpenOptions::new()
        .read(true)
        // A link in a shared /tmp could lead the removal below elsewhere.
        .custom_flags(flags.bits())
        .open(path);
    let dir = opened
        .with_context(|| format!("{} is not a folder that this user can open", path.display()))?;
    let metadata = dir.metadata()?;
    ensure!(
        metadata.uid() == unistd::geteuid().as_raw() && metadata.mode() & 0o077 == 0,
        "{} belongs to another user or is accessible to other users: remove it",
        path.display()
    );
    Ok(dir)
}

fn lock(dir: File, path: &Path) -> Result<Flock<File>> {
    match Flock::lock(dir, FlockArg::LockExclusiveNonblock) {
        Ok(lock) => Ok(lock),
        Err((_, Errno::EWOULDBLOCK)) => {
            let pid = fs::read_to_string(path.join("pid")).unwrap_or_else(|_| "unknown".into());
            bail!("already running, pid {pid} (in {})", path.display())
        }
        Err((_, errno)) => Err(errno).with_context(|| format!("cannot lock {}", path.display())),
    }
}

fn same(found: &fs::Metadata, lock: &File) -> bool {
    lock.metadata()
        .is_ok_and(|ours| (ours.dev(), ours.ino()) == (found.dev(), found.ino()))
}

fn empty(path: &Path) -> Result<()> {
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            fs::remove_dir_all(entry.path())?;
        } else {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::Permissions;
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    #[test]
    fn a_second_claim_fails_and_names_the_first_process() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("run");
        let run = RunDir::claim(&path).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o700);
        let error = RunDir::claim(&path).unwrap_err().to_string();
        let pid = std::process::id();
        assert!(
            error.starts_with(&format!("already running, pid {pid} ")),
            "{error}"
        );
        drop(run);
        assert!(!path.exists(), "nothing is left");
        RunDir::claim(&path).unwrap();
    }

    #[test]
    fn a_claim_removes_the_leftovers_of_a_killed_run() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("run");
        DirBuilder::new().mode(0o700).create(&path).unwrap();
        fs::write(path.join("sidecar.sock"), "").unwrap();
        fs::create_dir(path.join("codex-home")).unwrap();
        let run = RunDir::claim(&path).unwrap();
        let left: Vec<_> = fs::read_dir(run.path())
            .unwrap()
            .map(|e| e.unwrap().file_name())
            .collect();
        assert_eq!(left, ["pid"]);
    }

    #[test]
    fn a_link_a_file_and_a_folder_open_to_others_are_rejected() {
        let root = tempfile::tempdir().unwrap();
        let elsewhere = root.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        fs::write(elsewhere.join("precious"), "").unwrap();
        fs::set_permissions(&elsewhere, Permissions::from_mode(0o755)).unwrap();
        let link = root.path().join("link");
        symlink(&elsewhere, &link).unwrap();
        let file = root.path().join("file");
        fs::write(&file, "").unwrap();
        for path in [&link, &file, &elsewhere] {
            assert!(RunDir::claim(path).is_err(), "{}", path.display());
        }
        assert!(elsewhere.join("precious").exists());
    }

    #[test]
    fn a_path_too_long_for_sockets_is_rejected() {
        let error = RunDir::claim(&Path::new("/tmp").join("x".repeat(100))).unwrap_err();
        assert!(error.to_string().contains("TMPDIR"), "{error}");
    }
}
