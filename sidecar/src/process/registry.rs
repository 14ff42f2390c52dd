//! Registry of the running children and count of all starts, for metrics and the status page.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// The children of this process. Clones share one registry.
#[derive(Debug, Clone, Default)]
pub struct ChildRegistry(Arc<Mutex<RegistryState>>);

#[derive(Debug, Default)]
struct RegistryState {
    started: u64,
    /// Start times by pid.
    running: BTreeMap<i32, Instant>,
}

/// A snapshot of a running child.
#[derive(Debug, Clone, Copy)]
pub struct RunningChild {
    /// The child's process id.
    pub pid: i32,
    /// Time since the start of the child.
    pub age: Duration,
    /// Resident memory of the child, in bytes.
    pub rss_bytes: u64,
}

/// An entry of the registry. Dropping it removes the child from the registry.
#[derive(Debug)]
pub struct Registration {
    registry: ChildRegistry,
    pid: i32,
}

impl ChildRegistry {
    /// Registers a child that was just started.
    pub fn register(&self, pid: i32) -> Registration {
        let mut state = self.state();
        state.started += 1;
        state.running.insert(pid, Instant::now());
        Registration {
            registry: self.clone(),
            pid,
        }
    }

    /// Returns the number of children started so far.
    pub fn started(&self) -> u64 {
        self.state().started
    }

    /// Returns the children that run now, by ascending pid.
    pub fn running(&self) -> Vec<RunningChild> {
        // Copied, so that the lock is released before /proc is read for each child.
        let running = self.state().running.clone();
        running
            .into_iter()
            .map(|(pid, since)| RunningChild {
                pid,
                age: since.elapsed(),
                rss_bytes: rss_bytes(pid),
            })
            .collect()
    }

    fn state(&self) -> MutexGuard<'_, RegistryState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Registration {
    fn drop(&mut self) {
        self.registry.state().running.remove(&self.pid);
    }
}

/// Returns the resident memory of a process in bytes (`VmRSS` of `/proc/PID/status`, proc(5)); 0 after its exit.
pub fn rss_bytes(pid: i32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let kibibytes = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|value| value.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// Returns the number of file descriptors that this process has open.
pub fn open_descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registry_lists_a_child_until_its_registration_is_dropped() {
        let registry = ChildRegistry::default();
        let pid = i32::try_from(std::process::id()).unwrap();
        let registration = registry.register(pid);
        let running = registry.running();
        assert_eq!((running.len(), running[0].pid), (1, pid));
        assert!(running[0].rss_bytes > 0);
        drop(registration);
        assert_eq!((registry.running().len(), registry.started()), (0, 1));
    }
}
