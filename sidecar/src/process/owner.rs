//! Whoever has what only one may have: a home, an address.
//! A pid is 0 or absent where it is of another pid namespace (pid_namespaces(7)).

use std::fmt;

/// A process, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockOwner {
    /// Its pid, as it knows itself.
    pub pid: Option<i32>,
}

impl LockOwner {
    /// Whether both may be the same process.
    pub fn may_be(self, other: Self) -> bool {
        self.pid.is_none() || other.pid.is_none() || self.pid == other.pid
    }
}

impl fmt::Display for LockOwner {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.pid {
            Some(pid) => write!(formatter, "pid {pid}"),
            None => formatter.write_str("a process whose pid is not known here"),
        }
    }
}
