//! What a killed predecessor left behind, processes and folders: recognised by its mark, ended at our start.
//! An owner is a pid with its start time (proc(5), field 22 of `stat`), since pids come again.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::sys::signal::{Signal, kill};
use nix::unistd::{Pid, Uid};

/// The variable in a child's environment that names its owner.
pub const OWNER_ENV: &str = "CODEX_EDGE_OWNER";

const FOLDER: &str = "codex-edge-";

/// Who we are, as a mark.
pub fn owner() -> String {
    let pid = nix::unistd::getpid().as_raw();
    format!("{pid}-{}", start_time(pid).unwrap_or_default())
}

/// What the names of our private folders begin with.
pub fn folder_prefix() -> String {
    format!("{FOLDER}{}-", owner())
}

/// Ends processes and removes folders whose owner is gone.
pub fn reap() {
    for pid in orphans() {
        tracing::warn!(pid, "leftover of a killed sidecar is ended");
        let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
    }
    for folder in abandoned_folders(&std::env::temp_dir()) {
        tracing::warn!(folder = %folder.display(), "leftover of a killed sidecar is removed");
        let _gone = fs::remove_dir_all(folder);
    }
}

/// Processes of this user with the mark of an owner that is gone.
fn orphans() -> Vec<i32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    pids.filter(|pid| marked_owner(*pid).is_some_and(|owner| !lives(&owner)))
        .collect()
}

/// The mark in the environment of a process; none in that of another user, which we may not read.
fn marked_owner(pid: i32) -> Option<String> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let mut variables = environment.split(|byte| *byte == 0);
    let mark = variables.find_map(|variable| {
        variable
            .strip_prefix(OWNER_ENV.as_bytes())?
            .strip_prefix(b"=")
    });
    String::from_utf8(mark?.to_vec()).ok()
}

fn abandoned_folders(parent: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(parent).into_iter().flatten().flatten();
    let folders = entries.map(|entry| entry.path());
    folders.filter(|folder| is_abandoned(folder)).collect()
}

fn is_abandoned(folder: &Path) -> bool {
    let name = folder
        .file_name()
        .and_then(|name| name.to_str())
        .unwrap_or_default();
    let owner = name
        .strip_prefix(FOLDER)
        .and_then(|rest| rest.rsplit_once('-'));
    let is_ours = || {
        let metadata = fs::symlink_metadata(folder);
        metadata
            .is_ok_and(|metadata| metadata.is_dir() && metadata.uid() == Uid::current().as_raw())
    };
    owner.is_some_and(|(owner, _random)| is_owner(owner) && !lives(owner)) && is_ours()
}

/// Whether a text is a mark at all: what is not is none of our business.
fn is_owner(mark: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    mark.split_once('-')
        .is_some_and(|(pid, start)| number(pid) && number(start))
}

/// Whether the owner of a mark still runs.
fn lives(owner: &str) -> bool {
    let parts = owner.split_once('-');
    let process =
        parts.and_then(|(pid, start)| Some((pid.parse().ok()?, start.parse::<u64>().ok()?)));
    process.is_some_and(|(pid, start)| start_time(pid) == Some(start))
}

/// Clock ticks between the machine's start and that of a process.
fn start_time(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    let (_name_may_hold_anything, fields) = stat.rsplit_once(") ")?;
    fields.split(' ').nth(19)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::Command;

    use super::*;

    /// A pid that lives, with a start time that is not its own.
    fn dead_owner() -> String {
        format!("{}-1", nix::unistd::getpid())
    }

    #[test]
    fn a_process_lives_under_its_own_start_time_only() {
        assert!(is_owner(&owner()) && lives(&owner()));
        for gone in [
            dead_owner(),
            "0-0".to_owned(),
            "x".to_owned(),
            String::new(),
        ] {
            assert!(!lives(&gone), "{gone}");
        }
    }

    #[test]
    fn only_folders_of_the_dead_are_abandoned() {
        let parent = tempfile::tempdir().unwrap();
        let dead = format!("{FOLDER}{}-a1B2", dead_owner());
        for name in [
            dead.clone(),
            format!("{}a1B2", folder_prefix()),
            format!("{FOLDER}0-31999"),
            "other".to_owned(),
        ] {
            fs::create_dir(parent.path().join(name)).unwrap();
        }
        fs::write(
            parent.path().join(format!("{FOLDER}{}-file", dead_owner())),
            "",
        )
        .unwrap();
        assert_eq!(abandoned_folders(parent.path()), [parent.path().join(dead)]);
    }

    #[test]
    fn only_processes_of_the_dead_are_orphans() {
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
        // Between fork and exec a child still has our own environment.
        while marked_owner(pids[0]).is_none() || marked_owner(pids[1]).is_none() {
            std::thread::yield_now();
        }
        let orphans = orphans();
        for child in &mut children {
            child.kill().and_then(|()| child.wait()).unwrap();
        }
        assert!(
            orphans.contains(&pids[0]) && !orphans.contains(&pids[1]),
            "{orphans:?}"
        );
    }
}
