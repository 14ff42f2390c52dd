//! The processes of an agent's turn: counted while the turn runs, and killed at its end.
//!
//! A process belongs to a turn if it was started with the mark of the turn in its environment, works in the folder of the
//! turn, descends from such a process, or was found so before. A program that drops all of these at once is not found.
//! `RLIMIT_NPROC` (setrlimit(2)) does not fit: it counts all processes and threads of the user, and not those of root.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::num::{NonZeroU64, NonZeroUsize};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::thread::sleep;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use super::process_table::{ProcessEntry, ProcessId, own_processes, started_with};

/// The variable in the environment of an agent's commands that names their turn.
pub const TURN_ENV: &str = "CODEX_EDGE_TURN";

/// Number of times that the table is read for processes to kill, and the pause in between: a killed process stays in the
/// table for a moment, and one that forks faster than the table is read is stopped first.
const KILL_ROUNDS: usize = 20;
const KILL_PAUSE: Duration = Duration::from_millis(1);

/// The limits of the processes of one turn; `None` is unlimited.
#[derive(Debug, Clone, Copy)]
pub struct AgentProcessLimits {
    /// Number of processes.
    pub processes: Option<NonZeroUsize>,
    /// Sum of their memory, without that of mapped files, in bytes.
    pub memory_bytes: Option<NonZeroU64>,
}

/// A limit that the processes of a turn exceed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExceededLimit {
    /// Their number.
    Processes,
    /// Their memory.
    Memory,
}

/// The processes of a turn.
#[derive(Debug)]
pub struct AgentProcesses {
    folder: PathBuf,
    /// The value of [`TURN_ENV`].
    mark: String,
    /// The processes that were found and had not exited then.
    known: Mutex<HashSet<ProcessId>>,
}

impl AgentProcesses {
    /// The processes of the turn in `folder`, whose name is the mark of the turn.
    pub fn of(folder: &Path) -> Self {
        let name = folder.file_name().unwrap_or_default();
        Self {
            // The kernel names the working directory of a process without links.
            folder: folder.canonicalize().unwrap_or_else(|_| folder.to_owned()),
            mark: name.to_string_lossy().into_owned(),
            known: Mutex::default(),
        }
    }

    /// Returns the value of [`TURN_ENV`] for the commands of the turn.
    pub fn mark(&self) -> &str {
        &self.mark
    }

    /// Returns the limit that the processes exceed, if they exceed one. Blocks while the table of processes is read.
    pub fn exceeded(&self, limits: AgentProcessLimits) -> Option<ExceededLimit> {
        let members = self.find();
        let bytes: u64 = members.iter().map(|member| member.private_bytes).sum();
        if limits
            .processes
            .is_some_and(|max| members.len() > max.get())
        {
            Some(ExceededLimit::Processes)
        } else if limits.memory_bytes.is_some_and(|max| bytes > max.get()) {
            Some(ExceededLimit::Memory)
        } else {
            None
        }
    }

    /// Kills the processes. Blocks until they have ended, or for tens of milliseconds.
    pub fn kill(&self) {
        let mut killed = HashSet::new();
        for _ in 0..KILL_ROUNDS {
            let mut members = self.find();
            members.retain(|member| !member.is_zombie);
            if members.is_empty() {
                break;
            }
            // All are stopped before the first is killed, so that none starts another in between.
            for signal in [Signal::SIGSTOP, Signal::SIGKILL] {
                for member in &members {
                    send(signal, member.id);
                }
            }
            killed.extend(members.iter().map(|member| member.id));
            sleep(KILL_PAUSE);
        }
        if !killed.is_empty() {
            tracing::info!(
                processes = killed.len(),
                turn = self.mark,
                "processes of an agent killed"
            );
        }
    }

    /// Returns the processes, those that have exited and were not reaped included.
    fn find(&self) -> Vec<ProcessEntry> {
        let table = own_processes();
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let is_member =
            |process: &ProcessEntry| known.contains(&process.id) || self.is_marked(process.id.pid);
        let members = with_descendants(&table, is_member);
        *known = members.iter().map(|member| member.id).collect();
        members
    }

    fn is_marked(&self, pid: i32) -> bool {
        let works_in_folder = || {
            fs::read_link(format!("/proc/{pid}/cwd"))
                .is_ok_and(|directory| directory.starts_with(&self.folder))
        };
        started_with(pid, TURN_ENV).is_some_and(|mark| mark == self.mark.as_bytes())
            || works_in_folder()
    }
}

/// Returns the processes that are members, and all that descend from them.
fn with_descendants(
    table: &[ProcessEntry],
    is_member: impl Fn(&ProcessEntry) -> bool,
) -> Vec<ProcessEntry> {
    let mut children: HashMap<i32, Vec<&ProcessEntry>> = HashMap::new();
    for process in table {
        children.entry(process.parent).or_default().push(process);
    }
    let mut found = HashMap::new();
    let mut unvisited: Vec<&ProcessEntry> =
        table.iter().filter(|process| is_member(process)).collect();
    while let Some(process) = unvisited.pop() {
        if found.insert(process.id, *process).is_none() {
            unvisited.extend(children.get(&process.id.pid).into_iter().flatten());
        }
    }
    found.into_values().collect()
}

fn send(signal: Signal, process: ProcessId) {
    let is_same = ProcessEntry::read(process.pid).is_some_and(|entry| entry.id == process);
    if is_same {
        kill(Pid::from_raw(process.pid), signal).ok(); // Fails when the process has exited since.
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::process::CommandExt;
    use std::process::{Child, Command};

    use super::*;

    /// Starts a shell, in a session of its own, that starts `script`.
    fn start(script: &str, mark: &str, folder: &Path) -> Child {
        let mut command = Command::new("sh");
        command
            .args(["-c", script])
            .env(TURN_ENV, mark)
            .current_dir(folder)
            .process_group(0);
        command.spawn().unwrap()
    }

    fn wait_until(condition: impl Fn() -> bool) {
        let started = std::time::Instant::now();
        while !condition() {
            assert!(started.elapsed() < Duration::from_secs(20), "too late");
            std::thread::yield_now();
        }
    }

    #[test]
    fn processes_are_found_by_mark_folder_and_descent_and_killed() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("turn-1");
        fs::create_dir(&folder).unwrap();
        let processes = AgentProcesses::of(&folder);
        let other = start("sleep 60", "turn-2", parent.path());
        let mut own = [
            // By its mark alone; by its folder alone; two by descent alone.
            start("sleep 60; true", "turn-1", parent.path()),
            start("sleep 60; true", "turn-2", &folder),
            start(
                "cd /; env -i sh -c 'sleep 60; true'; true",
                "turn-1",
                parent.path(),
            ),
        ];
        wait_until(|| processes.find().len() == 2 + 2 + 3);
        let limits = |processes, memory_bytes| AgentProcessLimits {
            processes: NonZeroUsize::new(processes),
            memory_bytes: NonZeroU64::new(memory_bytes),
        };
        for (limits, exceeded) in [
            (limits(0, 0), None),
            (limits(7, 1 << 40), None),
            (limits(6, 1 << 40), Some(ExceededLimit::Processes)),
            (limits(7, 4096), Some(ExceededLimit::Memory)),
        ] {
            assert_eq!(processes.exceeded(limits), exceeded, "{limits:?}");
        }
        processes.kill();
        for child in &mut own {
            assert!(!child.wait().unwrap().success());
        }
        wait_until(|| processes.find().is_empty());
        let mut other = other;
        assert_eq!(other.try_wait().unwrap(), None, "a process of another turn");
        other.kill().and_then(|()| other.wait()).unwrap();
    }

    #[test]
    fn process_that_left_its_folder_and_its_parent_is_still_found() {
        let parent = tempfile::tempdir().unwrap();
        let folder = parent.path().join("turn-3");
        fs::create_dir(&folder).unwrap();
        let processes = AgentProcesses::of(&folder);
        // The inner shell has neither mark nor parent once the outer one has exited, and leaves the folder when told.
        let script = "env -i sh -c 'while ! [ -e go ]; do sleep 0.01; done; cd /; exec sleep 60' &";
        let mut outer = start(script, "turn-3", &folder);
        outer.wait().unwrap();
        let find_shell = || {
            processes
                .find()
                .into_iter()
                .find(|entry| entry.parent == 1 || !entry.is_zombie)
        };
        wait_until(|| find_shell().is_some());
        fs::write(folder.join("go"), "").unwrap();
        wait_until(|| {
            let found = processes.find();
            let directory =
                |entry: &ProcessEntry| fs::read_link(format!("/proc/{}/cwd", entry.id.pid));
            found.len() == 1 && directory(&found[0]).is_ok_and(|path| path == Path::new("/"))
        });
        processes.kill();
        wait_until(|| processes.find().iter().all(|entry| entry.is_zombie));
    }
}
