//! The processes of this user, as the kernel lists them in `/proc` (proc(5)).

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::sync::OnceLock;

use nix::unistd::{SysconfVar, Uid, sysconf};

/// A process. Its pid and its start time together name it, because the kernel reuses pids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ProcessId {
    pub(super) pid: i32,
    /// Start time, in clock ticks since boot.
    pub(super) start: u64,
}

/// A row of the table.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct ProcessEntry {
    pub(super) id: ProcessId,
    pub(super) parent: i32,
    /// Whether the process has exited and waits for its parent.
    pub(super) is_zombie: bool,
    /// Resident memory that the process shares with no file, in bytes.
    pub(super) private_bytes: u64,
}

impl ProcessEntry {
    /// Reads the row of `pid`; `None` once the process has been reaped.
    pub(super) fn read(pid: i32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // Field 2 is the name in parentheses, which may itself contain `) `; so the last one counts.
        let (_, fields) = stat.rsplit_once(") ")?;
        let mut fields = fields.split(' ');
        let state = fields.next()?;
        let parent = fields.next()?.parse().ok()?;
        // Field 22; the two before this one are fields 3 and 4.
        let start = fields.nth(17)?.parse().ok()?;
        Some(Self {
            id: ProcessId { pid, start },
            parent,
            is_zombie: matches!(state, "Z" | "X"),
            private_bytes: private_bytes(pid),
        })
    }
}

/// Returns the processes of this user.
pub(super) fn own_processes() -> Vec<ProcessEntry> {
    let own = Uid::effective().as_raw();
    pids()
        .filter(|pid| {
            let folder = fs::metadata(format!("/proc/{pid}"));
            folder.is_ok_and(|folder| folder.uid() == own)
        })
        .filter_map(ProcessEntry::read)
        .collect()
}

/// Returns the pids of all processes; without a pid if `/proc` belongs to another pid namespace, whose pids name other
/// processes for kill(2).
pub(super) fn pids() -> impl Iterator<Item = i32> {
    let table = is_own_proc().then(|| fs::read_dir("/proc"));
    let entries = table.into_iter().flatten().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

/// Whether `/proc` counts processes as this process's pid namespace does.
pub(super) fn is_own_proc() -> bool {
    static IS_OWN: OnceLock<bool> = OnceLock::new();
    *IS_OWN.get_or_init(|| {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        status.lines().any(is_single_pid)
    })
}

/// Whether a line of `/proc/self/status` has the only pid of this process: `NSpid` lists a pid for each namespace, from that of
/// `/proc` down to the process's own (proc(5)).
fn is_single_pid(line: &str) -> bool {
    line.strip_prefix("NSpid:")
        .is_some_and(|pids| pids.split_whitespace().count() == 1)
}

/// Returns the value of a variable in the environment that a process was started with. `None` without the variable, and
/// for other users' processes, which cannot be read.
pub(super) fn started_with(pid: i32, variable: &str) -> Option<Vec<u8>> {
    let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
    let value = environment
        .split(|byte| *byte == 0)
        .find_map(|entry| entry.strip_prefix(variable.as_bytes())?.strip_prefix(b"="))?;
    Some(value.to_vec())
}

fn private_bytes(pid: i32) -> u64 {
    let statm = fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    // Total, resident and shared pages.
    let mut pages = statm
        .split(' ')
        .skip(1)
        .map_while(|pages| pages.parse().ok());
    let (resident, shared): (u64, u64) = (pages.next().unwrap_or(0), pages.next().unwrap_or(0));
    resident.saturating_sub(shared) * page_bytes()
}

fn page_bytes() -> u64 {
    let bytes = sysconf(SysconfVar::PAGE_SIZE).ok().flatten();
    bytes
        .and_then(|bytes| u64::try_from(bytes).ok())
        .unwrap_or(4096)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn proc_of_an_outer_namespace_is_told_by_its_list_of_pids() {
        assert!(is_own_proc());
        for (line, is_own) in [
            ("NSpid:\t4711", true),
            ("NSpid:\t4711\t1", false),
            ("NSpid:", false),
            ("Pid:\t4711", false),
        ] {
            assert_eq!(is_single_pid(line), is_own, "{line}");
        }
    }
}
