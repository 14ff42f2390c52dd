//! The running stack: services are started in order and stopped in reverse order.
//! The order follows the requests backwards: the model, the sidecar, Envoy. Envoy stops first.

use std::fmt;
use std::process::Command;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::signal::Signal;

use super::service::Service;
use crate::report;

/// Interval at which children are checked.
const TICK: Duration = Duration::from_millis(50);
/// Time between SIGTERM and SIGKILL for a child; must exceed the sidecar's own drain (`PROXY_DRAIN_MS`, 30 s).
const GRACE: Duration = Duration::from_secs(35);

/// Services that run until [`Stack::stop`]; dropping the stack kills the services at once.
#[derive(Debug)]
pub(super) struct Stack {
    services: Vec<Service>,
    signals: Receiver<Signal>,
}

/// The reason for which a stack stops.
#[derive(Debug)]
pub(super) enum Reason {
    /// A signal arrived.
    Signalled(Signal),
    /// A service ended by itself; the text is the reason that it gave, or nothing.
    Ended(&'static str, String),
    /// The stack was not ready in time; the text holds the last observation.
    Late(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Signalled(signal) => write!(f, "{signal}"),
            Self::Ended(name, reason) if reason.is_empty() => write!(f, "{name} ended by itself"),
            Self::Ended(name, reason) => write!(f, "{name} ended by itself: {reason}"),
            Self::Late(last_seen) => write!(f, "not ready in time: {last_seen}"),
        }
    }
}

impl Stack {
    /// An empty stack that stops on a signal from `signals`.
    pub(super) fn new(signals: Receiver<Signal>) -> Self {
        Self {
            services: Vec::new(),
            signals,
        }
    }

    /// Starts a service, and returns a receiver of its first line on stdout.
    pub(super) fn start(
        &mut self,
        name: &'static str,
        command: &mut Command,
    ) -> Result<Receiver<String>> {
        let (service, first_line) = Service::start(name, command)?;
        self.services.push(service);
        Ok(first_line)
    }

    /// Polls until `poll` returns a value or there is a reason to stop; an `Err` of `poll` is the current observation.
    pub(super) fn wait_for<T>(
        &self,
        limit: Duration,
        mut poll: impl FnMut() -> Result<T, String>,
    ) -> Result<T, Reason> {
        let deadline = Instant::now() + limit;
        loop {
            match poll() {
                Ok(value) => return Ok(value),
                Err(last_seen) if Instant::now() > deadline => return Err(Reason::Late(last_seen)),
                Err(_) => {}
            }
            if let Some(reason) = self.tick() {
                return Err(reason);
            }
        }
    }

    /// Waits until there is a reason to stop.
    pub(super) fn wait(&self) -> Reason {
        loop {
            if let Some(reason) = self.tick() {
                return reason;
            }
        }
    }

    /// Stops the services, the last started first; a further signal kills them without grace.
    pub(super) fn stop(mut self) {
        while let Some(service) = self.services.pop() {
            let name = service.name();
            let how = if service.has_ended() {
                "had ended"
            } else {
                "stopped"
            };
            // A service that has ended may have left processes in its group.
            service.signal(Signal::SIGTERM);
            self.wait_for_end(&service);
            match service.end() {
                Ok(status) => report!("{name} {how}: {status}"),
                Err(error) => report!("cannot wait for {name}: {error}"),
            }
        }
    }

    fn wait_for_end(&mut self, service: &Service) {
        let deadline = Instant::now() + GRACE;
        while !service.has_ended() && Instant::now() < deadline {
            if self.signals.recv_timeout(TICK).is_ok() {
                // Dropping a service kills its group at once.
                self.services.clear();
                return;
            }
        }
    }

    /// Waits for one tick; returns a reason to stop if there is one.
    fn tick(&self) -> Option<Reason> {
        // A signal wins over an ended service: Ctrl-C is not a failure.
        if let Ok(signal) = self.signals.recv_timeout(TICK) {
            return Some(Reason::Signalled(signal));
        }
        let ended = self.services.iter().find(|service| service.has_ended())?;
        Some(Reason::Ended(ended.name(), ended.last_words()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::mpsc::{Sender, channel};

    use nix::errno::Errno;
    use nix::sys::signal::kill;
    use nix::unistd::Pid;

    use super::*;

    fn stack() -> (Sender<Signal>, Stack) {
        let (sender, signals) = channel();
        (sender, Stack::new(signals))
    }

    /// Starts a shell; `script` first prints the pid of a process that is left running.
    fn start(stack: &mut Stack, script: &str) -> Pid {
        let mut shell = Command::new("sh");
        let first_line = stack.start("shell", shell.args(["-c", script])).unwrap();
        let line = first_line.recv_timeout(GRACE).unwrap();
        Pid::from_raw(line.parse().unwrap())
    }

    fn assert_gone(pid: Pid) {
        let deadline = Instant::now() + GRACE;
        // A killed orphan stays a zombie until init reaps it.
        while kill(pid, None) != Err(Errno::ESRCH) {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            if stat.contains(") Z ") {
                return;
            }
            assert!(Instant::now() < deadline, "{pid} is still there");
            std::thread::sleep(TICK);
        }
    }

    #[test]
    fn stopping_a_service_ends_the_processes_that_it_started() {
        let (_sender, mut stack) = stack();
        let orphan = start(&mut stack, "sleep 600 & echo $!; wait");
        stack.stop();
        assert_gone(orphan);
    }

    #[test]
    fn an_ended_service_is_named_and_its_leftovers_are_killed() {
        let (_sender, mut stack) = stack();
        let orphan = start(&mut stack, "sleep 600 & echo $!; exit 3");
        assert_eq!(stack.wait().to_string(), "shell ended by itself");
        stack.stop();
        assert_gone(orphan);
    }

    #[test]
    fn an_ended_service_is_quoted_without_its_log_lines() {
        let (_sender, mut stack) = stack();
        let script =
            "echo $$; exec >&2; echo early; echo 'cannot bind'; echo '[log] x'; echo '{}'; exit 1";
        start(&mut stack, script);
        let reason = stack.wait().to_string();
        assert_eq!(reason, "shell ended by itself: cannot bind");
    }

    #[test]
    fn a_second_signal_kills_services_that_ignore_the_first() {
        let (sender, mut stack) = stack();
        let stubborn = "trap '' TERM; echo $$; while :; do sleep 1; done";
        let pids = [start(&mut stack, stubborn), start(&mut stack, stubborn)];
        let begun = Instant::now();
        sender.send(Signal::SIGINT).unwrap();
        assert_eq!(stack.wait().to_string(), "SIGINT");
        sender.send(Signal::SIGINT).unwrap();
        stack.stop();
        assert!(begun.elapsed() < GRACE / 2, "{:?}", begun.elapsed());
        pids.into_iter().for_each(assert_gone);
    }

    #[test]
    fn a_timeout_reports_the_last_observation() {
        let (_sender, stack) = stack();
        let late = stack.wait_for(TICK, || Err::<(), _>("503".to_owned()));
        assert_eq!(late.unwrap_err().to_string(), "not ready in time: 503");
    }
}
