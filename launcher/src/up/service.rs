//! A child process of the stack, with its process group and its log lines.
//! Process groups and waiting without reaping follow POSIX: kill(2), waitid(2).

use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::Pid;

use crate::command;

/// Time for the last lines of an ended child; a stray process that keeps the pipe open is not waited for.
const LOG_FLUSH_TIMEOUT: Duration = Duration::from_secs(1);

/// A running child, leader of its process group; dropping it ends the group and reaps the child.
#[derive(Debug)]
pub(super) struct Service {
    name: &'static str,
    child: Child,
    /// Whether the child was reaped; its pid may then belong to another process.
    is_reaped: bool,
    relays: Vec<JoinHandle<()>>,
    /// The last line of stderr that is not a log line.
    last_words: Arc<Mutex<String>>,
}

impl Service {
    /// Starts `command`, and relays its stdout and stderr with each line prefixed by `name`.
    /// The first line of stdout is also sent to the receiver.
    pub(super) fn start(
        name: &'static str,
        command: &mut Command,
    ) -> Result<(Self, Receiver<String>)> {
        // In a group of its own, the child does not get Ctrl-C from the terminal; the stack stops its children in order.
        command.process_group(0).stdin(Stdio::null());
        command.stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command::bound_to_parent(command, Signal::SIGKILL)
            .spawn()
            .with_context(|| format!("cannot start {name}"))?;
        let (announce, first_line) = sync_channel(1);
        let mut announce = Some(announce);
        let on_stdout = move |line: String| {
            if let Some(announce) = announce.take() {
                let _ = announce.send(line); // Only the scripted model's first line is read.
            }
        };
        let last_words = Arc::<Mutex<String>>::default();
        let last = Arc::clone(&last_words);
        let on_stderr = move |line: String| {
            if !is_log_line(&line) {
                *last.lock().unwrap_or_else(PoisonError::into_inner) = line;
            }
        };
        let mut relays = Vec::new();
        relays.extend(child.stdout.take().map(|pipe| relay(name, pipe, on_stdout)));
        relays.extend(child.stderr.take().map(|pipe| relay(name, pipe, on_stderr)));
        let service = Self {
            name,
            child,
            is_reaped: false,
            relays,
            last_words,
        };
        Ok((service, first_line))
    }

    pub(super) fn name(&self) -> &'static str {
        self.name
    }

    /// Whether the child has ended. The child is not reaped, so that the kernel cannot reuse the group's id.
    pub(super) fn has_ended(&self) -> bool {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOHANG | WaitPidFlag::WNOWAIT;
        !matches!(
            waitid(Id::Pid(self.group()), flags),
            Ok(WaitStatus::StillAlive)
        )
    }

    /// Returns the reason that a child gave for its end: the last line of stderr that is not a log line, or nothing.
    pub(super) fn last_words(&self) -> String {
        self.flush();
        let last_words = self.last_words.lock();
        last_words.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Sends `signal` to the whole group.
    pub(super) fn signal(&self, signal: Signal) {
        let _ = killpg(self.group(), signal); // Fails only if the group has ended.
    }

    /// Kills the rest of the group, reaps the child, and relays its last lines.
    pub(super) fn end(mut self) -> io::Result<ExitStatus> {
        let status = self.kill();
        self.flush();
        status
    }

    /// Waits until the last lines of an ended child are relayed.
    fn flush(&self) {
        let deadline = Instant::now() + LOG_FLUSH_TIMEOUT;
        while !self.relays.iter().all(JoinHandle::is_finished) && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
    }

    fn kill(&mut self) -> io::Result<ExitStatus> {
        self.signal(Signal::SIGKILL);
        self.is_reaped = true;
        self.child.wait()
    }

    /// The id of the group, which is the pid of its leader.
    fn group(&self) -> Pid {
        Pid::from_raw(self.child.id().cast_signed())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        if !self.is_reaped {
            let _ = self.kill(); // The status is of use to `end` only.
        }
    }
}

/// Whether a line is a record of a log: Envoy's begin with a bracket, the sidecar's are JSON.
fn is_log_line(line: &str) -> bool {
    line.is_empty() || line.starts_with(['[', '{'])
}

/// Copies lines to stdout until the pipe ends, and passes each to `on_line`.
fn relay(
    name: &'static str,
    pipe: impl Read + Send + 'static,
    mut on_line: impl FnMut(String) + Send + 'static,
) -> JoinHandle<()> {
    thread::spawn(move || {
        for line in BufReader::new(pipe).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line).into_owned();
            // The reader of stdout may be gone; the child must still be able to write.
            let _ = writeln!(io::stdout(), "{name:<7} | {line}");
            on_line(line);
        }
    })
}
