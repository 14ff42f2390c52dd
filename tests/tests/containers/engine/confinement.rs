//! The limits of a container, read inside it.

/// Prints the state of the first process, and tries to write to the root file system.
pub(crate) const SHOW: &str = "cat /proc/1/status; touch /file 2>&1; true";

/// Asserts that the output of `SHOW` in `container` is that of a process without privileges.
pub(crate) fn assert_confined(container: &str, shown: &str) {
    for line in [
        "Uid:\t10001",
        "CapBnd:\t0000000000000000",
        "NoNewPrivs:\t1",
        "Seccomp:\t2",
        "Read-only file system",
    ] {
        assert!(shown.contains(line), "{container}: {line}: {shown}");
    }
}
