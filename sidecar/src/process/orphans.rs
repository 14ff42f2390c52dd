//! Orphans of a killed sidecar: its children and private folders, removed at the next start.
//!
//! A process is an orphan if its environment has the mark of an owner that has exited. A folder is an orphan if its name has a
//! mark and its lock is free: the kernel judges a lock for all pid namespaces, and releases it when the owner ends. What
//! cannot be judged stays: children of a sidecar in a container or of an earlier version, and folders on a file system
//! without locks.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

use super::folder::{FolderLock, remove_folder};
use super::owner::{OwnerMark, OwnerState, own_mark};
use super::process_table::{is_own_proc, pids, started_with};

/// The variable in a child's environment that names the sidecar that owns the child. Earlier versions have used
/// `CODEX_EDGE_OWNER`, and kill each process whose value for that they cannot parse.
pub const OWNER_ENV: &str = "CODEX_EDGE_OWNED_BY";

const FOLDER_PREFIX: &str = "codex-edge-";

/// Returns the owner mark of this process.
pub fn owner() -> String {
    own_mark()
}

/// Returns the prefix of the names of this process's private folders.
pub fn folder_prefix() -> String {
    format!("{FOLDER_PREFIX}{}-", owner())
}

/// Kills orphaned processes and removes orphaned folders.
pub fn reap() {
    if !is_own_proc() {
        tracing::warn!("processes not listed, /proc belongs to another pid namespace");
    }
    for pid in orphaned_processes() {
        tracing::warn!(pid, "killed orphaned child");
        kill(Pid::from_raw(pid), Signal::SIGKILL).ok(); // Fails when the process has exited since.
    }
    // After the processes, which may still write into the folders.
    reap_folders(&std::env::temp_dir(), FOLDER_PREFIX);
}

/// Removes the folders in `parent` with names that begin with `prefix` and a mark, and whose owner has exited.
pub fn reap_folders(parent: &Path, prefix: &str) {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    for folder in entries.map(|entry| entry.path()) {
        // The lock is kept until the folder is removed, so that two starts do not remove the same folder.
        let Some(_lock) = lock_orphan(&folder, prefix) else {
            continue;
        };
        match remove_folder(&folder) {
            Ok(()) => tracing::warn!(folder = %folder.display(), "removed orphaned folder"),
            Err(error) => {
                tracing::error!(%error, folder = %folder.display(), "folder removal failed");
            }
        }
    }
}

/// Returns the pids of this user's processes with the mark of an owner that has exited.
fn orphaned_processes() -> Vec<i32> {
    let has_exited = |mark: OwnerMark| mark.state() == OwnerState::Exited;
    pids()
        .filter(|pid| owner_of(*pid).is_some_and(has_exited))
        .collect()
}

/// Returns the owner mark of a process. `None` without a mark, and for other users' processes, which cannot be read.
fn owner_of(pid: i32) -> Option<OwnerMark> {
    OwnerMark::parse(std::str::from_utf8(&started_with(pid, OWNER_ENV)?).ok()?)
}

/// Locks a folder if it is an orphan.
fn lock_orphan(folder: &Path, prefix: &str) -> Option<FolderLock> {
    let name = folder.file_name()?.to_str()?.strip_prefix(prefix)?;
    let (mark, _random) = name.rsplit_once('-')?;
    OwnerMark::parse(mark)?;
    // Not followed: a symbolic link of another user must not lead the removal elsewhere.
    let metadata = fs::symlink_metadata(folder).ok()?;
    let is_own = metadata.is_dir() && metadata.uid() == Uid::current().as_raw();
    is_own.then(|| FolderLock::take(folder).ok()).flatten()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;
    use crate::process::OwnedFolder;

    /// The mark of an owner that has exited: this process's pid with another start time.
    fn exited_owner() -> String {
        let own = owner();
        let parts: Vec<_> = own.splitn(3, '-').collect();
        format!("{}-1-{}", parts[0], parts[2])
    }

    #[test]
    fn only_marked_folders_with_a_free_lock_are_removed() {
        let parent = tempfile::tempdir().unwrap();
        let own = OwnedFolder::create_in(parent.path(), &folder_prefix()).unwrap();
        // Such as a container with the same folder: the lock counts, and the mark says nothing here.
        let elsewhere = format!("{FOLDER_PREFIX}7-145743-0123456789abcdef-");
        let locked = OwnedFolder::create_in(parent.path(), &elsewhere).unwrap();
        let exited = format!("{FOLDER_PREFIX}{}-", exited_owner());
        let orphans = [format!("{exited}a1B2"), format!("{elsewhere}a1B2")];
        let others = [
            format!("{FOLDER_PREFIX}7-145743-a1B2"),
            format!("{FOLDER_PREFIX}0-31999"),
            "other".to_owned(),
        ];
        for name in orphans.iter().chain(&others) {
            fs::create_dir(parent.path().join(name)).unwrap();
        }
        fs::write(parent.path().join(format!("{exited}file")), "").unwrap();
        std::os::unix::fs::symlink(own.path(), parent.path().join(format!("{exited}link")))
            .unwrap();
        reap_folders(parent.path(), FOLDER_PREFIX);
        assert!(own.path().exists() && locked.path().exists());
        for name in &orphans {
            assert!(!parent.path().join(name).exists(), "{name}");
        }
        for name in others {
            assert!(parent.path().join(&name).exists(), "{name}");
        }
        let path = own.path().to_owned();
        std::mem::forget(own); // A killed owner removes nothing, but the kernel would free its lock.
        reap_folders(parent.path(), FOLDER_PREFIX);
        assert!(path.exists(), "the lock is held as long as its owner runs");
    }

    #[test]
    fn only_processes_of_exited_owners_are_orphaned() {
        let start = |owner: &str| {
            let mut command = Command::new("sleep");
            command
                .arg("60")
                .env_clear()
                .env(OWNER_ENV, owner)
                .process_group(0);
            command.spawn().unwrap()
        };
        let marks = [
            exited_owner(),
            owner(),
            // Of a container, of an earlier version, and of a process that did not know its place.
            "7-145743-0123456789abcdef".to_owned(),
            "7-145743".to_owned(),
            "7-unknown".to_owned(),
        ];
        let mut children = marks.each_ref().map(|mark| start(mark));
        let pids = children
            .each_ref()
            .map(|child| i32::try_from(child.id()).unwrap());
        // Between fork and exec a child still has the environment of the test process.
        while pids
            .iter()
            .any(|pid| started_with(*pid, OWNER_ENV).is_none())
        {
            std::thread::yield_now();
        }
        let orphans = orphaned_processes();
        for child in &mut children {
            child.kill().and_then(|()| child.wait()).unwrap();
        }
        let found = pids.map(|pid| orphans.contains(&pid));
        assert_eq!(found, [true, false, false, false, false], "{marks:?}");
    }
}
