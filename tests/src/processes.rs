//! Processes as the kernel shows them: descendants, environment, command line, signal handlers, memory, descriptors.
//! Follows proc(5) and prctl(2), `PR_SET_CHILD_SUBREAPER`.

use std::fs;
use std::path::Path;
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::Signal;
use tokio::time::{sleep, timeout};

use crate::http::DEADLINE;

/// Time between two checks of a condition.
const POLL: Duration = Duration::from_millis(10);

/// Reparents orphaned descendants to this process, so that [`descendants`] still finds them.
pub fn adopt_orphans() {
    prctl::set_child_subreaper(true).expect("PR_SET_CHILD_SUBREAPER needs no privilege");
}

/// The pid of this process.
pub fn own_pid() -> i32 {
    nix::unistd::getpid().as_raw()
}

/// The running descendants of `ancestor`.
pub fn descendants(ancestor: i32) -> Vec<i32> {
    let mut all = children_of(ancestor);
    let mut next = 0;
    while let Some(&pid) = all.get(next) {
        all.extend(children_of(pid));
        next += 1;
    }
    all.retain(|pid| is_running(*pid));
    all
}

/// The pids of the children of `pid` that it has not reaped, oldest first.
pub fn children_of(pid: i32) -> Vec<i32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task"));
    let lists = tasks.into_iter().flatten().flatten().map(|task| {
        let children = fs::read_to_string(task.path().join("children"));
        children.unwrap_or_default()
    });
    let mut pids: Vec<i32> = lists
        .flat_map(|list| {
            list.split_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .collect::<Vec<_>>()
        })
        .collect();
    pids.sort_unstable();
    pids
}

/// Whether a process runs; a zombie does not.
pub fn is_running(pid: i32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = stat
        .rsplit_once(") ")
        .and_then(|(_, rest)| rest.chars().next());
    state.is_some_and(|state| state != 'Z' && state != 'X')
}

/// Waits until none of these processes runs.
pub async fn wait_until_gone(pids: &[i32]) {
    let gone = async {
        while pids.iter().any(|pid| is_running(*pid)) {
            sleep(POLL).await;
        }
    };
    let gone = timeout(DEADLINE, gone).await;
    assert!(gone.is_ok(), "of {pids:?} some still run");
}

/// The running processes of this user with a sidecar's mark and the name of `folder` in their environment.
pub fn marked_processes(folder: &Path) -> Vec<i32> {
    let folder = folder.to_string_lossy();
    let is_marked = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment);
        environment.contains("CODEX_EDGE_OWNED_BY=") && environment.contains(&*folder)
    };
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok())
        .filter(|pid| is_running(*pid))
        .filter(is_marked)
        .collect()
}

/// Whether `argument` is on the command line of `pid`.
pub fn has_argument(pid: i32, argument: &str) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0)
        .any(|word| word == argument.as_bytes())
}

/// Whether `pid` has installed a handler for `signal`.
pub fn handles_signal(pid: i32, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("SigCgt:"))
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .is_some_and(|mask| mask & (1 << (signal as i32 - 1)) != 0)
}

/// Resident memory of `pid` in KiB; 0 after its exit.
pub fn resident_kib(pid: i32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok())
        .unwrap_or_default()
}

/// The number of open file descriptors of `pid`.
pub fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}
