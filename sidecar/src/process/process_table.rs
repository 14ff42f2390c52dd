//! The processes of this user, as the kernel lists them in `/proc` (proc(5)).

use std::fs;
use std::os::unix::fs::MetadataExt;

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

/// Returns the pids of all processes.
pub(super) fn pids() -> impl Iterator<Item = i32> {
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
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
