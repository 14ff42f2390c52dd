//! A child process and its process group: spawn, stop, reap.
//! Signals and process groups are POSIX's; the parent-death signal is Linux's prctl(2).

use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::{Child, Command};
use tokio::time::timeout;

use super::pipes::Pipes;
use super::registry::rss_bytes;

/// Time that a child has to exit after its stdin is closed, and again after SIGTERM.
/// Codex's app-server takes about 30 ms for either.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// A program to run. The environment is exactly `environment`; the sidecar's own is not inherited.
#[derive(Debug, Clone)]
pub struct Program {
    /// Path of the program, or a name that is looked up in the `PATH` of `environment`.
    pub path: PathBuf,
    /// Arguments, without the program's own name.
    pub arguments: Vec<OsString>,
    /// The whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The working directory.
    pub directory: PathBuf,
    /// The limits that the kernel enforces.
    pub limits: ProcessLimits,
}

/// Limits of a child and of each process that it starts (setrlimit(2)); `None` inherits the sidecar's own.
#[derive(Debug, Clone, Copy, Default)]
pub struct ProcessLimits {
    /// Memory that a process may allocate, in bytes: heap, stacks of threads and private mappings (`RLIMIT_DATA`). The
    /// address space (`RLIMIT_AS`) would also count files and reserved ranges, which take no memory.
    pub data_bytes: Option<u64>,
    /// Size of a file that a process may write, in bytes (`RLIMIT_FSIZE`).
    pub file_bytes: Option<u64>,
}

impl Program {
    /// Returns the command with piped stdio, a process group of its own, and no inherited environment.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.path);
        command
            .args(&self.arguments)
            .env_clear()
            .envs(self.environment.iter().cloned())
            .current_dir(&self.directory)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true);
        prepare(&mut command, self.limits);
        command
    }
}

/// Sets the limits, and has the kernel kill the child when the sidecar is killed. The signal follows the *thread* that spawned the child,
/// so children are spawned on runtime workers, which live as long as the process.
fn prepare(command: &mut Command, limits: ProcessLimits) {
    let parent = nix::unistd::getpid();
    let set = |resource, limit: Option<u64>| {
        limit.map_or(Ok(()), |limit| setrlimit(resource, limit, limit))
    };
    let before_exec = move || {
        set(Resource::RLIMIT_DATA, limits.data_bytes)?;
        set(Resource::RLIMIT_FSIZE, limits.file_bytes)?;
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        // Checked after prctl: a sidecar that was killed before that call sends no signal any more.
        if nix::unistd::getppid() == parent {
            Ok(())
        } else {
            Err(io::Error::other("the sidecar exited during the start"))
        }
    };
    #[expect(
        unsafe_code,
        reason = "between fork and exec it makes system calls and allocates nothing"
    )]
    unsafe {
        command.pre_exec(before_exec);
    }
}

/// Sets `FD_CLOEXEC` on the descriptors that the sidecar itself was started with, so that children do not inherit them.
/// Descriptors that the sidecar opens have the flag from the start. Must be called before the first thread is started.
pub fn set_cloexec_on_inherited_descriptors() {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten();
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    for number in numbers.filter(|number| *number > 2) {
        #[expect(
            unsafe_code,
            reason = "a descriptor that is closed by now makes fcntl fail, which changes nothing"
        )]
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        // Fails for the descriptor of the directory listing, which is closed by now.
        fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).ok();
    }
}

/// A running child. Dropping it kills the child's process group; [`ChildProcess::stop`] is the graceful way.
#[derive(Debug)]
pub struct ChildProcess {
    process: Child,
    group: Pid,
    has_memory_limit: bool,
}

impl ChildProcess {
    /// Starts `program` as the leader of a process group of its own.
    ///
    /// # Errors
    /// The program does not exist or is not executable, or the system cannot create a process.
    pub fn spawn(program: &Program) -> io::Result<(Self, Pipes)> {
        let mut process = program.command().spawn()?;
        let group = process
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .map(Pid::from_raw)
            .ok_or_else(|| io::Error::other("the child has no pid"))?;
        let no_pipe = || io::Error::other("the child has no pipe");
        let pipes = Pipes::new(
            process.stdin.take().ok_or_else(no_pipe)?,
            process.stdout.take().ok_or_else(no_pipe)?,
            process.stderr.take().ok_or_else(no_pipe)?,
        );
        let child = Self {
            process,
            group,
            has_memory_limit: program.limits.data_bytes.is_some(),
        };
        Ok((child, pipes))
    }

    /// Returns the child's process id, which is also the id of its process group.
    pub fn pid(&self) -> i32 {
        self.group.as_raw()
    }

    /// Returns the resident memory of the child in bytes; 0 after its exit.
    pub fn rss_bytes(&self) -> u64 {
        rss_bytes(self.pid())
    }

    /// Waits a grace period for the exit of a child that has failed; `None` while the child still runs.
    pub async fn exit_status(&mut self) -> Option<ExitStatus> {
        let exited = timeout(STOP_GRACE, self.process.wait()).await;
        exited.ok().and_then(Result::ok)
    }

    /// Whether the child has ended as a program does that may not allocate any more: by SIGABRT, from Rust's and C++'s
    /// allocators, or by SIGSEGV, for lack of a stack.
    pub fn ran_out_of_memory(&self, status: Option<ExitStatus>) -> bool {
        let signal = status.and_then(|status| status.signal());
        let is_failed_allocation = |signal| [Signal::SIGABRT, Signal::SIGSEGV].contains(&signal);
        self.has_memory_limit
            && signal
                .and_then(|signal| Signal::try_from(signal).ok())
                .is_some_and(is_failed_allocation)
    }

    /// Stops the child and its process group, and reaps the child: grace period, SIGTERM, grace period, SIGKILL.
    /// The caller has closed the child's stdin, which is the first request to exit.
    ///
    /// # Errors
    /// The child cannot be waited for.
    pub async fn stop(mut self) -> io::Result<ExitStatus> {
        if timeout(STOP_GRACE, self.process.wait()).await.is_err() {
            self.signal_group(Signal::SIGTERM);
            let _ = timeout(STOP_GRACE, self.process.wait()).await; // SIGKILL follows in either case.
        }
        // Also after a clean exit: processes that the child started may still be in the group.
        self.signal_group(Signal::SIGKILL);
        self.process.wait().await
    }

    fn signal_group(&self, signal: Signal) {
        killpg(self.group, signal).ok(); // Fails when the group has exited already.
    }
}

impl Drop for ChildProcess {
    fn drop(&mut self) {
        // A reaped child's pid may belong to another process by now.
        let reaped = self.process.id().is_none();
        if !reaped {
            self.signal_group(Signal::SIGKILL);
        }
    }
}
