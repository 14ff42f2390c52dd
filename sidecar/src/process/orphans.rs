//! Orphans of a killed sidecar: its children and private folders, found by an owner mark and removed at the next start.
//! An owner is a pid with its start time (field 22 of `/proc/PID/stat`, proc(5)), because the kernel reuses pids.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

use super::folder::remove_folder;
use super::process_table::{ProcessEntry, pids, started_with};

/// The variable in a child's environment that names the sidecar that owns the child.
pub const OWNER_ENV: &str = "CODEX_EDGE_OWNER";

const FOLDER_PREFIX: &str = "codex-edge-";

/// Returns the owner mark of this process, `PID-START_TIME`.
pub fn owner() -> String {
    let pid = nix::unistd::getpid().as_raw();
    format!("{pid}-{}", start_time(pid).unwrap_or_default())
}

/// Returns the prefix of the names of this process's private folders.
pub fn folder_prefix() -> String {
    format!("{FOLDER_PREFIX}{}-", owner())
}

/// Kills orphaned processes and removes orphaned folders.
pub fn reap() {
    for pid in orphaned_processes() {
        tracing::warn!(pid, "killed orphaned child");
        kill(Pid::from_raw(pid), Signal::SIGKILL).ok(); // Fails when the process has exited since.
    }
    // After the processes, which may still write into the folders.
    reap_folders(&std::env::temp_dir(), FOLDER_PREFIX);
}

/// Removes the folders in `parent` with names that begin with `prefix` and the mark of an owner that has exited.
pub fn reap_folders(parent: &Path, prefix: &str) {
    for folder in orphaned_folders(parent, prefix) {
        tracing::warn!(folder = %folder.display(), "removed orphaned folder");
        remove(&folder);
    }
}

fn remove(folder: &Path) {
    if let Err(error) = remove_folder(folder) {
        tracing::error!(%error, folder = %folder.display(), "folder removal failed");
    }
}

/// Returns the pids of this user's processes with the mark of an owner that has exited.
fn orphaned_processes() -> Vec<i32> {
    pids()
        .filter(|pid| owner_of(*pid).is_some_and(|owner| !is_running(&owner)))
        .collect()
}

/// Returns the owner mark of a process. `None` without a mark, and for other users' processes, which cannot be read.
fn owner_of(pid: i32) -> Option<String> {
    String::from_utf8(started_with(pid, OWNER_ENV)?).ok()
}

fn orphaned_folders(parent: &Path, prefix: &str) -> Vec<PathBuf> {
    fs::read_dir(parent)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|folder| is_orphaned(folder, prefix))
        .collect()
}

fn is_orphaned(folder: &Path, prefix: &str) -> bool {
    let owner = folder
        .file_name()
        .and_then(|name| name.to_str())
        .and_then(|name| name.strip_prefix(prefix))
        .and_then(|rest| rest.rsplit_once('-'));
    // Not followed: a symbolic link of another user must not lead the removal elsewhere.
    let is_own_folder = || {
        fs::symlink_metadata(folder)
            .is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == Uid::current().as_raw())
    };
    owner.is_some_and(|(owner, _random)| is_owner_mark(owner) && !is_running(owner))
        && is_own_folder()
}

/// Whether `text` has the form of an owner mark. Folders without a valid mark are left alone.
fn is_owner_mark(text: &str) -> bool {
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.split_once('-')
        .is_some_and(|(pid, start)| is_number(pid) && is_number(start))
}

/// Whether the process that `owner` marks is still running.
fn is_running(owner: &str) -> bool {
    owner
        .split_once('-')
        .and_then(|(pid, start)| Some((pid.parse().ok()?, start.parse::<u64>().ok()?)))
        .is_some_and(|(pid, start)| start_time(pid) == Some(start))
}

/// Returns the start time of a process, in clock ticks since boot.
fn start_time(pid: i32) -> Option<u64> {
    Some(ProcessEntry::read(pid)?.id.start)
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    /// A running pid with a start time that is not its own.
    fn dead_owner() -> String {
        format!("{}-1", nix::unistd::getpid())
    }

    #[test]
    fn owner_is_running_only_with_its_own_start_time() {
        assert!(is_owner_mark(&owner()) && is_running(&owner()));
        for exited in [
            dead_owner(),
            "0-0".to_owned(),
            "x".to_owned(),
            String::new(),
        ] {
            assert!(!is_running(&exited), "{exited}");
        }
    }

    #[test]
    fn only_folders_of_exited_owners_are_orphaned() {
        let parent = tempfile::tempdir().unwrap();
        let dead = format!("{FOLDER_PREFIX}{}-a1B2", dead_owner());
        for name in [
            dead.clone(),
            format!("{}a1B2", folder_prefix()),
            format!("{FOLDER_PREFIX}0-31999"),
            "other".to_owned(),
        ] {
            fs::create_dir(parent.path().join(name)).unwrap();
        }
        fs::write(
            parent
                .path()
                .join(format!("{FOLDER_PREFIX}{}-file", dead_owner())),
            "",
        )
        .unwrap();
        assert_eq!(
            orphaned_folders(parent.path(), FOLDER_PREFIX),
            [parent.path().join(dead)]
        );
    }

    #[test]
    fn only_processes_of_exited_owners_are_orphaned() {
        let start = |owner: String| {
            let mut command = Command::new("sleep");
            command
                .arg("60")
                .env_clear()
                .env(OWNER_ENV, owner)
                .process_group(0);
            command.spawn().unwrap()
        };
        let mut children = [start(dead_owner()), start(owner())];
        let pids = children
            .each_ref()
            .map(|child| i32::try_from(child.id()).unwrap());
        // Between fork and exec a child still has the environment of the test process.
        while owner_of(pids[0]).is_none() || owner_of(pids[1]).is_none() {
            std::thread::yield_now();
        }
        let orphans = orphaned_processes();
        for child in &mut children {
            child.kill().and_then(|()| child.wait()).unwrap();
        }
        assert!(
            orphans.contains(&pids[0]) && !orphans.contains(&pids[1]),
            "{orphans:?}"
        );
    }
}
