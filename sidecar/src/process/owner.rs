//! Identity of a sidecar for other processes: its owner mark, and the process that holds a lock or an address.
//!
//! A pid names a process only together with the place that counts it: a boot of a kernel, a pid namespace, and for start
//! times a time namespace (pid_namespaces(7), time_namespaces(7)). A mark from another place cannot be judged: the same pid
//! is another process here, or none.

use std::fmt::{self, Write};
use std::fs;
use std::sync::OnceLock;

use sha2::{Digest, Sha256};

use super::process_table::{ProcessEntry, is_own_proc};

/// Bytes of the hash that names a place in a mark.
const PLACE_BYTES: usize = 8;

/// The mark of a process, `PID-START_TIME-PLACE`. The start time (field 22 of `/proc/PID/stat`, proc(5)) tells processes apart
/// that have had the same pid. `PLACE` is a hash in hexadecimal digits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct OwnerMark {
    pid: i32,
    start: u64,
    place: String,
}

/// The state of the process that a mark names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum OwnerState {
    Running,
    Exited,
    /// The mark is from another place, such as a container or another boot.
    Unknown,
}

impl OwnerMark {
    /// Returns the mark of this process; `None` if `/proc` does not tell the place.
    pub(super) fn own() -> Option<Self> {
        let pid = nix::unistd::getpid().as_raw();
        Some(Self {
            pid,
            start: ProcessEntry::read(pid)?.id.start,
            place: own_place()?.to_owned(),
        })
    }

    /// Parses a mark. `None` for other text, such as the marks of earlier versions, which name no place.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut parts = text.splitn(3, '-');
        let mark = Self {
            pid: parts.next()?.parse().ok()?,
            start: parts.next()?.parse().ok()?,
            place: parts.next()?.to_owned(),
        };
        // Written back, so that a number with a sign or leading zeros is not taken for a mark.
        (is_place(&mark.place) && mark.to_string() == text).then_some(mark)
    }

    /// Returns the state of the process.
    pub(super) fn state(&self) -> OwnerState {
        if own_place() != Some(self.place.as_str()) {
            return OwnerState::Unknown;
        }
        match ProcessEntry::read(self.pid) {
            // One that waits for its parent does nothing any more.
            Some(entry) if entry.id.start == self.start && !entry.is_zombie => OwnerState::Running,
            Some(_) | None => OwnerState::Exited,
        }
    }
}

impl fmt::Display for OwnerMark {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}-{}-{}", self.pid, self.start, self.place)
    }
}

/// Returns the mark of this process as text. Where `/proc` does not tell the place, the text has no mark's form, and no
/// sidecar judges it.
pub(super) fn own_mark() -> String {
    OwnerMark::own().map_or_else(
        || format!("{}-unknown", nix::unistd::getpid()),
        |mark| mark.to_string(),
    )
}

/// Whether the process that an owner mark names runs. False also for a process of another place, which cannot be judged.
pub fn is_owner_running(mark: &str) -> bool {
    OwnerMark::parse(mark).is_some_and(|mark| mark.state() == OwnerState::Running)
}

fn is_place(text: &str) -> bool {
    let is_digit = |byte: u8| byte.is_ascii_digit() || (b'a'..=b'f').contains(&byte);
    text.len() == PLACE_BYTES * 2 && text.bytes().all(is_digit)
}

/// Returns the hash of boot, pid namespace and time namespace.
fn own_place() -> Option<&'static str> {
    static PLACE: OnceLock<Option<String>> = OnceLock::new();
    PLACE.get_or_init(read_place).as_deref()
}

fn read_place() -> Option<String> {
    if !is_own_proc() {
        return None;
    }
    let boot = fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    let pids = fs::read_link("/proc/self/ns/pid").ok()?;
    // Linux 5.6; an older kernel has one clock for all.
    let clock = fs::read_link("/proc/self/ns/time").unwrap_or_default();
    let hash = Sha256::digest(format!(
        "{}\n{}\n{}",
        boot.trim(),
        pids.display(),
        clock.display()
    ));
    let mut place = String::new();
    for byte in &hash[..PLACE_BYTES] {
        write!(place, "{byte:02x}").ok()?;
    }
    Some(place)
}

/// A process that holds a lock or an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LockOwner {
    /// The pid in this process's own namespace; `None` when it is unknown.
    pub pid: Option<i32>,
}

impl LockOwner {
    /// Returns the text that names this process in a lock file.
    pub fn own_text() -> String {
        own_mark()
    }

    /// Parses the text of a lock file. The pid of an owner in another pid namespace, on another host, or of an earlier version
    /// is unknown.
    pub fn parse(text: &str) -> Self {
        let mark = OwnerMark::parse(text).filter(|mark| mark.state() != OwnerState::Unknown);
        Self {
            pid: mark.map(|mark| mark.pid),
        }
    }

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

#[cfg(test)]
mod tests {
    use super::*;

    fn with(change: impl FnOnce(&mut OwnerMark)) -> OwnerMark {
        let mut mark = OwnerMark::own().expect("/proc is mounted");
        change(&mut mark);
        mark
    }

    #[test]
    fn owner_is_judged_by_pid_and_start_time_in_its_own_place_only() {
        let elsewhere = || "0123456789abcdef".to_owned();
        for (mark, state) in [
            (with(|_| {}), OwnerState::Running),
            (with(|mark| mark.start += 1), OwnerState::Exited),
            (with(|mark| mark.pid = i32::MAX), OwnerState::Exited),
            (with(|mark| mark.place = elsewhere()), OwnerState::Unknown),
            (
                with(|mark| {
                    mark.place = elsewhere();
                    mark.pid = i32::MAX;
                }),
                OwnerState::Unknown,
            ),
        ] {
            assert_eq!(mark.state(), state, "{mark}");
            assert_eq!(OwnerMark::parse(&mark.to_string()), Some(mark));
        }
    }

    #[test]
    fn text_without_a_place_is_not_a_mark() {
        let place = own_place().expect("/proc is mounted");
        for text in [
            String::new(),
            "7".to_owned(),
            "7-145743".to_owned(),
            "7-unknown".to_owned(),
            format!("7-145743-{}", &place[1..]),
            format!("7-145743-{place}-"),
            format!("7-145743-{}", place.to_uppercase() + "G"),
            format!("+7-145743-{place}"),
            format!("07-145743-{place}"),
            format!("-7-145743-{place}"),
        ] {
            assert_eq!(OwnerMark::parse(&text), None, "{text}");
            assert_eq!(LockOwner::parse(&text).pid, None, "{text}");
        }
        let own = nix::unistd::getpid().as_raw();
        assert_eq!(LockOwner::parse(&LockOwner::own_text()).pid, Some(own));
    }
}
