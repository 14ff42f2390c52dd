//! What another process has used so far: processor time and memory.
//! clock_getcpuclockid(3), which counts threads that have ended too, and proc(5).

use std::time::Duration;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// The kernel counts memory in these on the machines that Envoy is built for.
const PAGE_BYTES: f64 = 4096.0;

/// Processor time of `pid`, in user space and in the kernel. It must live.
pub(crate) fn cpu(pid: i32) -> Duration {
    let clock = clock_getcpuclockid(Pid::from_raw(pid)).expect("the process lives");
    clock_gettime(clock).expect("the process lives").into()
}

/// Resident memory of `pid`, in KiB; 0 when it is gone.
pub(crate) fn resident_kib(pid: i32) -> f64 {
    let statm = std::fs::read_to_string(format!("/proc/{pid}/statm")).unwrap_or_default();
    let pages = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok());
    pages.map_or(0.0, |pages: f64| pages * PAGE_BYTES / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_cost_is_seen() {
        let pid = nix::unistd::getpid().as_raw();
        let before = cpu(pid);
        while cpu(pid) == before {
            std::hint::spin_loop();
        }
        assert!(resident_kib(pid) > 100.0);
    }
}
