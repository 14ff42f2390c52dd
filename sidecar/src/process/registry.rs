//! Which children live now, and how many were started, for those who watch over them.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The children of this process; clones share it.
#[derive(Debug, Clone, Default)]
pub struct ChildRegistry(Arc<Mutex<Names>>);

#[derive(Debug, Default)]
struct Names {
    started: u64,
    /// By pid, since when.
    living: BTreeMap<i32, Instant>,
}

/// A child as it is now.
#[derive(Debug, Clone, Copy)]
pub struct RunningChild {
    /// Its process id.
    pub pid: i32,
    /// Since it was started.
    pub age: Duration,
    /// Memory that it holds, in bytes.
    pub rss_bytes: u64,
}

/// A child's name on the roster, which goes with it.
#[derive(Debug)]
pub struct Registration {
    roster: ChildRegistry,
    pid: i32,
}

impl ChildRegistry {
    /// Enters a child that was just started.
    pub fn enter(&self, pid: i32) -> Registration {
        let mut names = self.names();
        names.started += 1;
        names.living.insert(pid, Instant::now());
        Registration {
            roster: self.clone(),
            pid,
        }
    }

    /// How many children were ever started.
    pub fn started(&self) -> u64 {
        self.names().started
    }

    /// Those that live.
    pub fn living(&self) -> Vec<RunningChild> {
        let living: Vec<_> = self.names().living.clone().into_iter().collect();
        let children = living.into_iter().map(|(pid, since)| RunningChild {
            pid,
            age: since.elapsed(),
            rss_bytes: rss_bytes(pid),
        });
        children.collect()
    }

    fn names(&self) -> MutexGuard<'_, Names> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.roster.names().living.remove(&self.pid);
    }
}

/// Memory that a process holds, in bytes; 0 when it is gone. Linux's proc(5), `VmRSS` of `status`.
pub fn rss_bytes(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let field = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = field.and_then(|field| field.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// Descriptors that this process has open.
pub fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_is_on_the_roster_while_it_lives() {
        let roster = ChildRegistry::default();
        let pid = i32::try_from(std::process::id()).unwrap();
        let entered = roster.enter(pid);
        let living = roster.living();
        assert_eq!((living.len(), living[0].pid), (1, pid));
        assert!(living[0].rss_bytes > 0);
        drop(entered);
        assert_eq!((roster.living().len(), roster.started()), (0, 1));
    }
}
