//! Carries out the blows of a plan, and starts the sidecar again whenever it has ended, as a supervisor would.
//! Signals are POSIX's; what a sidecar must leave behind when it is told to stop is the contract's section 7.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep_until, timeout};

use super::chain::{STOP_DEADLINE, workers};
use super::load::Load;
use super::plan::{Blow, Kind};
use super::report::Report;
use crate::processes::hears;
use crate::sidecar::Sidecar;

/// Longest wait for somebody to strike: the longest pause before a worker's restart (10 s), and a sidecar's start.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// Time between two looks at a condition.
const POLL: Duration = Duration::from_millis(10);

/// What passes over a sidecar and its clients.
#[derive(Debug)]
pub(super) struct Storm<'a> {
    sidecar: &'a mut Sidecar,
    load: &'a Load,
    report: &'a mut Report,
    /// Since when the sidecar drains.
    draining: Option<Instant>,
    /// When a frozen worker is killed, and its pid.
    frozen: Vec<(Instant, i32)>,
}

impl<'a> Storm<'a> {
    /// A storm that has not begun.
    pub(super) fn new(sidecar: &'a mut Sidecar, load: &'a Load, report: &'a mut Report) -> Self {
        Self {
            sidecar,
            load,
            report,
            draining: None,
            frozen: Vec::new(),
        }
    }

    /// Waits for the blow's time and carries it out.
    pub(super) async fn strike(&mut self, blow: &Blow) {
        self.wait(blow.pause).await;
        let struck = match blow.kind {
            Kind::KillSidecar => self.kill_sidecar().await,
            Kind::StopSidecar => self.stop_sidecar().await,
            Kind::KillWorker(pick) => self.signal_worker(pick, Signal::SIGKILL).await.is_some(),
            Kind::FreezeWorker(pick, time) => self.freeze_worker(pick, time).await,
            Kind::DropClient(client) => {
                self.load.drop_client(client);
                true
            }
        };
        if struck {
            self.report.add_fault(blow.kind.name());
        } else {
            self.report
                .add_violation(format!("nothing to strike: {}", blow.kind.name()));
        }
    }

    /// Ends what has begun: frozen workers are killed, a sidecar that drains is waited for.
    pub(super) async fn pass(mut self) {
        while self.draining.is_some() || !self.frozen.is_empty() {
            self.wait(POLL).await;
        }
    }

    /// Lets time pass, in which a sidecar may end and the time of frozen workers may come.
    async fn wait(&mut self, time: Duration) {
        let until = Instant::now() + time;
        loop {
            let thaw = self.frozen.iter().map(|(at, _)| *at).min();
            let overdue = self.draining.map(|since| since + STOP_DEADLINE);
            let next = [Some(until), thaw, overdue].into_iter().flatten().min();
            tokio::select! {
                code = self.sidecar.ended() => self.on_sidecar_end(code),
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
        let _no_code = self.sidecar.ended().await;
        self.sidecar.restart();
        true
    }

    /// One that drains already is told a second time, which hurries it.
    async fn stop_sidecar(&mut self) -> bool {
        let listening = async {
            while !self.listens() {
                self.wait(POLL).await;
            }
        };
        if timeout(START_DEADLINE, listening).await.is_err() {
            return false;
        }
        self.sidecar.signal(Signal::SIGTERM);
        self.draining.get_or_insert(Instant::now());
        true
    }

    /// Whether SIGTERM is a word to it by now, and not its end.
    fn listens(&self) -> bool {
        let pid = self.sidecar.id();
        pid.is_some_and(|pid| hears(pid, Signal::SIGTERM))
    }

    /// One that was told to stop ends with success and leaves nothing; no other ends at all.
    fn on_sidecar_end(&mut self, code: Option<i32>) {
        if self.draining.take().is_none() || code != Some(0) {
            let log = self.sidecar.log();
            let last: Vec<_> = log.lines().rev().take(5).collect();
            self.report
                .add_violation(format!("the sidecar ended with {code:?} after {last:#?}"));
        }
        let left = self.sidecar.remains();
        if !left.is_empty() {
            self.report
                .add_violation(format!("a sidecar that was told to stop left {left:?}"));
        }
        self.sidecar.restart();
    }

    fn kill_frozen(&mut self) {
        let now = Instant::now();
        let children = self.sidecar.children();
        self.frozen.retain(|(at, pid)| {
            let due = now >= *at;
            // A pid that is no longer a child of ours may be anybody's by now.
            if due && children.contains(pid) {
                let _gone = kill(Pid::from_raw(*pid), Signal::SIGKILL);
            }
            !due
        });
    }

    fn kill_overdue(&mut self) {
        let overdue = |since: &Instant| since.elapsed() >= STOP_DEADLINE;
        if self.draining.as_ref().is_some_and(overdue) {
            self.draining = None;
            self.report.add_violation(format!(
                "told to stop, the sidecar runs after {STOP_DEADLINE:?}"
            ));
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

    /// Signals a worker that lives, waits for one if need be, and returns its pid.
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
