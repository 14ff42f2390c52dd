//! The process that holds a lock or a listening address.
//! The pid is 0 or absent when that process is in another pid namespace (pid_namespaces(7)).

use std::fmt;

/// A process that holds a lock or an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockOwner {
    /// The pid in the owner's own namespace; `None` when it is unknown.
    pub pid: Option<i32>,
}

impl LockOwner {
    /// Whether `self` and `other` could be the same process. An unknown pid matches every pid.
    pub fn could_be(self, other: Self) -> bool {
        self.pid.is_none() || other.pid.is_none() || self.pid == other.pid
    }
}

impl fmt::Display for LockOwner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(formatter, "pid {pid}"),
            None => formatter.write_str("a process with an unknown pid"),
        }
    }
}
