//! One child and its process group: spawn, stop, reap.
//! Signals and process groups are POSIX's; the parent-death signal is Linux's prctl(2).

use std::ffi::OsString;
use std::io;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use nix::sys::prctl;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use tokio::process::Command;
use tokio::time::timeout;

use super::pipes::Pipes;
use super::registry::rss_bytes;

/// Time that a child has to go by itself after its stdin is closed, and again after SIGTERM.
/// Codex's app-server takes some 30 ms for either.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// What to run. The environment is exactly `environment`: nothing of ours is inherited.
#[derive(Debug, Clone)]
pub struct Program {
    /// Path, or a name that is looked up in the `PATH` of `environment`.
    pub path: PathBuf,
    /// Arguments, without the program's own name.
    pub arguments: Vec<OsString>,
    /// The whole environment.
    pub environment: Vec<(OsString, OsString)>,
    /// The working directory.
    pub directory: PathBuf,
}

impl Program {
    /// The command, with nothing inherited but what is named here.
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
        die_with_parent(&mut command);
        command
    }
}

/// Lets the kernel end the child when we are killed. The signal follows the *thread* that spawned the child,
/// so children are spawned on runtime workers, which live as long as the process.
fn die_with_parent(command: &mut Command) {
    let parent = nix::unistd::getpid();
    let before_exec = move || {
        prctl::set_pdeathsig(Signal::SIGKILL)?;
        if nix::unistd::getppid() == parent {
            Ok(())
        } else {
            Err(io::Error::other(
                "the sidecar ended while the child was starting",
            ))
        }
    };
    #[expect(
        unsafe_code,
        reason = "between fork and exec it makes two system calls and allocates nothing"
    )]
    unsafe {
        command.pre_exec(before_exec);
    }
}

/// Marks every descriptor that we were started with, so that no child inherits it; those that we open are born so.
/// To be called before there are threads.
pub fn keep_descriptors_to_ourselves() {
    use nix::fcntl::{FcntlArg, FdFlag, fcntl};
    let open = std::fs::read_dir("/proc/self/fd").into_iter().flatten();
    let numbers = open.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok());
    for number in numbers.filter(|number| *number > 2) {
        #[expect(
            unsafe_code,
            reason = "a descriptor that is closed by now makes fcntl fail, which changes nothing"
        )]
        let descriptor = unsafe { BorrowedFd::borrow_raw(number) };
        let _closed = fcntl(descriptor, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC));
    }
}

/// A running child. Dropping it kills its group; `stop` is the polite way.
#[derive(Debug)]
pub struct Child {
    process: tokio::process::Child,
    group: Pid,
}

impl Child {
    /// Starts `program` as the leader of a process group of its own.
    ///
    /// # Errors
    /// The system's, when the program does not exist, is not executable, or no process can be made.
    pub fn spawn(program: &Program) -> io::Result<(Self, Pipes)> {
        let mut process = program.command().spawn()?;
        let group = process
            .id()
            .and_then(|pid| i32::try_from(pid).ok())
            .map(Pid::from_raw)
            .ok_or_else(|| io::Error::other("the child has no pid"))?;
        let closed = || io::Error::other("the child has no pipe");
        let pipes = Pipes::new(
            process.stdin.take().ok_or_else(closed)?,
            process.stdout.take().ok_or_else(closed)?,
            process.stderr.take().ok_or_else(closed)?,
        );
        Ok((Self { process, group }, pipes))
    }

    /// The child's process id, which is its group's too.
    pub fn pid(&self) -> i32 {
        self.group.as_raw()
    }

    /// Memory that the child holds, in bytes; 0 when it is gone.
    pub fn rss_bytes(&self) -> u64 {
        rss_bytes(self.pid())
    }

    /// Ends the child and its group, from polite to firm, and reaps it. The caller has closed its stdin.
    ///
    /// # Errors
    /// The system's, when the child cannot be waited for.
    pub async fn stop(mut self) -> io::Result<ExitStatus> {
        if timeout(STOP_GRACE, self.process.wait()).await.is_err() {
            self.signal_group(Signal::SIGTERM);
            let _grace = timeout(STOP_GRACE, self.process.wait()).await;
        }
        self.signal_group(Signal::SIGKILL);
        self.process.wait().await
    }

    /// The group may be gone already, which is what we want.
    fn signal_group(&self, signal: Signal) {
        let _gone = killpg(self.group, signal);
    }
}

impl Drop for Child {
    fn drop(&mut self) {
        let reaped = self.process.id().is_none();
        if !reaped {
            self.signal_group(Signal::SIGKILL);
        }
    }
}
