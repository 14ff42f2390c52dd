//! Injects the faults of a plan, and restarts the sidecar after every exit, as a supervisor does.
//! Signals are POSIX's; the state after SIGTERM is defined by the contract's section 7.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep_until, timeout};

use super::chain::{STOP_DEADLINE, workers};
use super::load::LoadGenerator;
use super::plan::{Fault, FaultKind};
use super::report::Report;
use crate::processes::handles_signal;
use crate::sidecar::Sidecar;

/// Longest wait for a target: the longest pause before a worker's restart (10 s), and a sidecar's start.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// Time between two checks of a condition.
const POLL: Duration = Duration::from_millis(10);

/// Injects faults into a sidecar and its clients.
#[derive(Debug)]
pub(super) struct Injector<'a> {
    sidecar: &'a mut Sidecar,
    load: &'a LoadGenerator,
    report: &'a mut Report,
    /// The time of the first SIGTERM to the current sidecar.
    draining: Option<Instant>,
    /// The time at which a frozen worker is killed, and its pid.
    frozen: Vec<(Instant, i32)>,
}

impl<'a> Injector<'a> {
    /// An injector without pending faults.
    pub(super) fn new(
        sidecar: &'a mut Sidecar,
        load: &'a LoadGenerator,
        report: &'a mut Report,
    ) -> Self {
        Self {
            sidecar,
            load,
            report,
            draining: None,
            frozen: Vec::new(),
        }
    }

    /// Waits for the fault's pause and injects the fault.
    pub(super) async fn inject(&mut self, fault: &Fault) {
        self.wait(fault.pause).await;
        let injected = match fault.kind {
            FaultKind::KillSidecar => self.kill_sidecar().await,
            FaultKind::StopSidecar => self.stop_sidecar().await,
            FaultKind::KillWorker(pick) => {
                self.signal_worker(pick, Signal::SIGKILL).await.is_some()
            }
            FaultKind::FreezeWorker(pick, time) => self.freeze_worker(pick, time).await,
            FaultKind::DisconnectClient(client) => {
                self.load.disconnect_client(client);
                true
            }
        };
        if injected {
            self.report.add_fault(fault.kind.name());
        } else {
            self.report
                .add_violation(format!("no target for {}", fault.kind.name()));
        }
    }

    /// Completes pending faults: kills frozen workers, and waits for a draining sidecar.
    pub(super) async fn finish(mut self) {
        while self.draining.is_some() || !self.frozen.is_empty() {
            self.wait(POLL).await;
        }
    }

    /// Waits for `time`, while it handles exits of the sidecar and kills frozen workers.
    async fn wait(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            let thaw = self.frozen.iter().map(|(at, _)| *at).min();
            let overdue = self.draining.map(|since| since + STOP_DEADLINE);
            let next = [Some(until), thaw, overdue].into_iter().flatten().min();
            tokio::select! {
                // May be dropped: the next iteration awaits the same exit again.
                code = self.sidecar.ended() => self.on_sidecar_exit(code),
                () = sleep_until(next.unwrap_or(until)) => {}
            }
            self.kill_frozen();
            self.kill_overdue();
            if Instant::now() >= until {
                return;
            }
        }
    }

    async fn kill_sidecar(&mut self) -> bool {
        self.load.announce_sidecar_kill();
        self.sidecar.signal(Signal::SIGKILL);
        self.draining = None;
        let _ = self.sidecar.ended().await; // a signal leaves no exit code
        self.sidecar.restart();
        true
    }

    /// Sends SIGTERM to the sidecar. A second SIGTERM to a draining sidecar aborts its turns.
    async fn stop_sidecar(&mut self) -> bool {
        let handler = async {
            while !self.handles_sigterm() {
                self.wait(POLL).await;
            }
        };
        if timeout(START_DEADLINE, handler).await.is_err() {
            return false;
        }
        self.sidecar.signal(Signal::SIGTERM);
        self.draining.get_or_insert(Instant::now());
        true
    }

    /// Whether the sidecar has installed its SIGTERM handler; earlier, the signal would kill it.
    fn handles_sigterm(&self) -> bool {
        let pid = self.sidecar.id();
        pid.is_some_and(|pid| handles_signal(pid, Signal::SIGTERM))
    }

    /// Checks an exit: only a sidecar after SIGTERM exits, with 0 and without leftovers.
    fn on_sidecar_exit(&mut self, code: Option<i32>) {
        if self.draining.take().is_none() || code != Some(0) {
            let log = self.sidecar.log();
            let last: Vec<_> = log.lines().rev().take(5).collect();
            self.report
                .add_violation(format!("the sidecar exited with {code:?} after {last:#?}"));
        }
        let left = self.sidecar.leftover_files();
        if !left.is_empty() {
            self.report
                .add_violation(format!("a sidecar left {left:?} after SIGTERM"));
        }
        self.sidecar.restart();
    }

    fn kill_frozen(&mut self) {
        let now = Instant::now();
        let children = self.sidecar.children();
        self.frozen.retain(|(at, pid)| {
            let due = now >= *at;
            // The kernel may have given the pid of an exited worker to another process.
            if due && children.contains(pid) {
                let _ = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            !due
        });
    }

    fn kill_overdue(&mut self) {
        let overdue = |since: &Instant| since.elapsed() >= STOP_DEADLINE;
        if self.draining.as_ref().is_some_and(overdue) {
            self.draining = None;
            self.report
                .add_violation(format!("the sidecar runs {STOP_DEADLINE:?} after SIGTERM"));
            self.load.announce_sidecar_kill();
            self.sidecar.signal(Signal::SIGKILL);
        }
    }

    async fn freeze_worker(&mut self, pick: usize, time: Duration) -> bool {
        let frozen = self.signal_worker(pick, Signal::SIGSTOP).await;
        let thaw = Instant::now() + time;
        self.frozen.extend(frozen.map(|pid| (thaw, pid)));
        frozen.is_some()
    }

    /// Signals a running worker, waits for one if necessary, and returns its pid.
    async fn signal_worker(&mut self, pick: usize, signal: Signal) -> Option<i32> {
        let signalled = async {
            loop {
                let workers = workers(self.sidecar);
                if let Some(pid) = workers.get(pick % workers.len().max(1))
                    && kill(Pid::from_raw(*pid), signal).is_ok()
                {
                    return *pid;
                }
                self.wait(POLL).await;
            }
        };
        timeout(START_DEADLINE, signalled).await.ok()
    }
}
