//! Processor time and memory of another process.

use std::time::Duration;

use nix::time::{clock_getcpuclockid, clock_gettime};
use nix::unistd::Pid;

/// Page size of proc(5) on the machines that Envoy is built for.
const PAGE_BYTES: f64 = 4096.0;

/// Processor time of `pid` in user space and in the kernel. The process must be running.
pub(crate) fn cpu_time(pid: i32) -> Duration {
    // Rather than the sum over /proc/pid/task: this clock includes threads that have ended.
    let clock = clock_getcpuclockid(Pid::from_raw(pid)).expect("the process is running");
    clock_gettime(clock).expect("the process is running").into()
}

/// Returns the output of `work`, and the processor time that `pid` has used meanwhile.
pub(crate) async fn cpu_time_during<T>(pid: i32, work: impl Future<Output = T>) -> (T, Duration) {
    let before = cpu_time(pid);
    let output = work.await;
    (output, cpu_time(pid).saturating_sub(before))
}

/// Resident memory of `pid` in KiB, or 0 when the process has ended.
pub(crate) fn resident_kib(pid: i32) -> f64 {
    std::fs::read_to_string(format!("/proc/{pid}/statm"))
        .unwrap_or_default()
        .split(' ')
        // The first number is the virtual size, the second one the resident size.
        .nth(1)
        .and_then(|pages| pages.parse().ok())
        .map_or(0.0, |pages: f64| pages * PAGE_BYTES / 1024.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn own_process_has_cpu_time_and_memory() {
        let pid = nix::unistd::getpid().as_raw();
        let before = cpu_time(pid);
        while cpu_time(pid) == before {
            std::hint::spin_loop();
        }
        assert!(resident_kib(pid) > 100.0);
    }
}
