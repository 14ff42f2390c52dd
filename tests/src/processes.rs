//! What the kernel knows of processes: who descends from us, who names a folder, who hears a signal.
//! proc(5) and prctl(2), `PR_SET_CHILD_SUBREAPER`.

use std::fs;
use std::path::Path;

use nix::sys::prctl;
use nix::sys::signal::Signal;

use crate::sidecar::{children_of, runs};

/// Makes those whose parent is killed our children, so that none of them leaves our sight.
pub fn adopt_orphans() {
    prctl::set_child_subreaper(true).expect("any process may adopt");
}

/// Our own pid.
pub fn own() -> i32 {
    nix::unistd::getpid().as_raw()
}

/// All that descend from `ancestor` and run.
pub fn descendants(ancestor: i32) -> Vec<i32> {
    let mut all = children_of(ancestor);
    let mut next = 0;
    while let Some(&pid) = all.get(next) {
        all.extend(children_of(pid));
        next += 1;
    }
    all.retain(|pid| runs(*pid));
    all
}

/// All of this user that run, have the sidecar's mark, and name `folder` in their environment.
pub fn marked(folder: &Path) -> Vec<i32> {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = processes.filter_map(|entry| entry.file_name().to_str()?.parse::<i32>().ok());
    let folder = folder.to_string_lossy();
    let is_marked = |pid: &i32| {
        let environment = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
        let environment = String::from_utf8_lossy(&environment);
        environment.contains("CODEX_EDGE_OWNER=") && environment.contains(&*folder)
    };
    pids.filter(|pid| runs(*pid)).filter(is_marked).collect()
}

/// Whether `argument` is on the command line of `pid`.
pub fn runs_with(pid: i32, argument: &str) -> bool {
    let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    line.split(|byte| *byte == 0)
        .any(|word| word == argument.as_bytes())
}

/// Whether `pid` has a handler for `signal` by now.
pub fn hears(pid: i32, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
    caught.is_some_and(|mask| mask & (1 << (signal as i32 - 1)) != 0)
}

/// Memory that `pid` has in use, in KiB; 0 when it is gone.
pub fn resident_kib(pid: i32) -> usize {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse().ok());
    kib.unwrap_or_default()
}

/// Descriptors that `pid` has open.
pub fn descriptors(pid: i32) -> usize {
    fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count)
}
