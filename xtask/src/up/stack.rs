//! The running stack: its services in the order of their starts, waited for and stopped in the other order.
//! The order follows the requests: a model before who asks it, Envoy last in and first out.

use std::fmt;
use std::process::Command;
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

use anyhow::Result;
use nix::sys::signal::Signal;

use super::service::Service;

/// How often children are looked at.
const TICK: Duration = Duration::from_millis(50);
/// Time that a child has after SIGTERM: above the sidecar's own drain (`PROXY_DRAIN_MS`, 30 s).
const GRACE: Duration = Duration::from_secs(35);

/// Services that run until [`Stack::stop`]; dropping it ends them at once.
#[derive(Debug)]
pub(super) struct Stack {
    services: Vec<Service>,
    signals: Receiver<Signal>,
}

/// Why a stack stops.
#[derive(Debug)]
pub(super) enum Reason {
    /// Somebody asked for it.
    Asked(Signal),
    /// A service ended by itself.
    Ended(&'static str),
    /// Something did not come in time; the text says what was seen last.
    Late(String),
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Asked(signal) => write!(f, "{signal}"),
            Self::Ended(name) => write!(f, "{name} ended by itself"),
            Self::Late(last_seen) => write!(f, "not ready in time: {last_seen}"),
        }
    }
}

impl Stack {
    /// An empty stack that stops when a signal comes.
    pub(super) fn new(signals: Receiver<Signal>) -> Self {
        Self {
            services: Vec::new(),
            signals,
        }
    }

    /// Starts one more service and returns what it writes to stdout first.
    pub(super) fn start(
        &mut self,
        name: &'static str,
        command: &mut Command,
    ) -> Result<Receiver<String>> {
        let (service, first_line) = Service::start(name, command)?;
        self.services.push(service);
        Ok(first_line)
    }

    /// Polls until there is a value, or a reason to stop; an `Err` of `poll` is what is seen meanwhile.
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

    /// Stops the services, the last started first; one more signal ends them without grace.
    pub(super) fn stop(mut self) {
        while let Some(service) = self.services.pop() {
            let name = service.name();
            let how = if service.has_ended() {
                "had ended"
            } else {
                "stopped"
            };
            service.signal(Signal::SIGTERM);
            self.wait_for_end(&service);
            match service.end() {
                Ok(status) => eprintln!("{name} {how}: {status}"),
                Err(error) => eprintln!("cannot wait for {name}: {error}"),
            }
        }
    }

    fn wait_for_end(&mut self, service: &Service) {
        let deadline = Instant::now() + GRACE;
        while !service.has_ended() && Instant::now() < deadline {
            if self.signals.recv_timeout(TICK).is_ok() {
                // Dropping is ending at once.
                self.services.clear();
                return;
            }
        }
    }

    fn tick(&self) -> Option<Reason> {
        if let Ok(signal) = self.signals.recv_timeout(TICK) {
            return Some(Reason::Asked(signal));
        }
        let ended = self.services.iter().find(|service| service.has_ended())?;
        Some(Reason::Ended(ended.name()))
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

    /// Starts a shell whose script first writes the pid of something that it leaves running.
    fn start(stack: &mut Stack, script: &str) -> Pid {
        let mut shell = Command::new("sh");
        let first_line = stack.start("shell", shell.args(["-c", script])).unwrap();
        let line = first_line.recv_timeout(GRACE).unwrap();
        Pid::from_raw(line.parse().unwrap())
    }

    fn assert_gone(pid: Pid) {
        let deadline = Instant::now() + GRACE;
        // An orphan that was killed is there until init has reaped it.
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
    fn a_service_stops_with_all_that_it_started() {
        let (_sender, mut stack) = stack();
        let orphan = start(&mut stack, "sleep 600 & echo $!; wait");
        stack.stop();
        assert_gone(orphan);
    }

    #[test]
    fn a_service_that_ends_is_named_and_what_it_left_is_ended() {
        let (_sender, mut stack) = stack();
        let orphan = start(&mut stack, "sleep 600 & echo $!; exit 3");
        assert_eq!(stack.wait().to_string(), "shell ended by itself");
        stack.stop();
        assert_gone(orphan);
    }

    #[test]
    fn a_second_signal_does_not_wait_for_a_service_that_will_not_stop() {
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
    fn what_is_late_says_what_was_seen_last() {
        let (_sender, stack) = stack();
        let late = stack.wait_for(TICK, || Err::<(), _>("503".to_owned()));
        assert_eq!(late.unwrap_err().to_string(), "not ready in time: 503");
    }
}
