//! Faults and changes while clients send requests; the faults of clients and of the model are in `workload`.
//! Each kind occurs once before one occurs again, in an order that the seed decides.

use std::time::Duration;

use fastrand::Rng;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::time::{Instant, sleep, timeout};

use super::keys::KeyRing;
use crate::chaos::Report;
use crate::chaos::chain::{Chain, workers};
use crate::sidecar::Sidecar;

/// Longest pause between two faults, in milliseconds.
const MAX_PAUSE_MS: u64 = 1000;

/// Longest freeze of a worker, in milliseconds: longer than a turn may be idle.
const MAX_FREEZE_MS: u64 = 5000;

/// Longest wait for a second worker: the longest pause before its restart (10 s), and its start.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// Time between two checks of a condition.
const POLL: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy)]
enum SoakFault {
    KillWorker,
    FreezeWorker,
    RotateKeys,
    RejectConfiguration,
}

/// Injects the faults of one phase of the run.
#[derive(Debug)]
pub(super) struct SoakInjector<'a> {
    rng: Rng,
    ring: &'a KeyRing,
    report: &'a mut Report,
    /// Kinds that are due before any kind repeats.
    next: Vec<SoakFault>,
}

impl<'a> SoakInjector<'a> {
    pub(super) fn new(rng: Rng, ring: &'a KeyRing, report: &'a mut Report) -> Self {
        Self {
            rng,
            ring,
            report,
            next: Vec::new(),
        }
    }

    /// Injects faults for `time`, and for at least one round; each round also replaces the sidecar.
    pub(super) async fn with_restarts(&mut self, chain: &mut Chain, time: Duration) {
        let until = Instant::now() + time;
        loop {
            self.pause().await;
            self.replace(&mut chain.sidecar).await;
            for _ in 0..SoakFault::ALL.len() {
                self.inject(chain).await;
            }
            if Instant::now() >= until {
                return;
            }
        }
    }

    /// Injects faults for `time`; the sidecar and its oldest worker keep running.
    pub(super) async fn without_restarts(&mut self, chain: &Chain, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.inject(chain).await;
        }
    }

    async fn pause(&mut self) {
        sleep(Duration::from_millis(self.rng.u64(..MAX_PAUSE_MS))).await;
    }

    async fn inject(&mut self, chain: &Chain) {
        self.pause().await;
        if self.next.is_empty() {
            self.next = SoakFault::ALL.to_vec();
            self.rng.shuffle(&mut self.next);
        }
        let Some(fault) = self.next.pop() else {
            return;
        };
        let violation = match fault {
            SoakFault::KillWorker => self.kill(&chain.sidecar, Duration::ZERO).await,
            SoakFault::FreezeWorker => {
                let freeze = Duration::from_millis(self.rng.u64(..MAX_FREEZE_MS));
                self.kill(&chain.sidecar, freeze).await
            }
            SoakFault::RotateKeys => self.ring.rotate(&chain.envoy).await,
            SoakFault::RejectConfiguration => KeyRing::check_rejection(&chain.envoy).await,
        };
        self.record(fault.name(), violation);
    }

    fn record(&mut self, name: &'static str, violation: Option<String>) {
        self.report.add_fault(name);
        if let Some(violation) = violation {
            self.report.add_violation(format!("{name}: {violation}"));
        }
    }

    /// Sends SIGTERM and starts a successor at once; the predecessor must exit with 0.
    async fn replace(&mut self, sidecar: &mut Sidecar) {
        let predecessor = sidecar.upgrade().await;
        let code = predecessor.wait().await;
        sidecar.wait_until_ready().await;
        let violation = (code != Some(0)).then(|| format!("exit with {code:?}"));
        self.record("sidecar SIGTERM, and a successor", violation);
    }

    /// Sends SIGSTOP and later SIGKILL to the youngest worker, once there are two.
    async fn kill(&mut self, sidecar: &Sidecar, freeze: Duration) -> Option<String> {
        let youngest = async {
            loop {
                if let [_, .., youngest] = workers(sidecar)[..] {
                    return youngest;
                }
                sleep(POLL).await;
            }
        };
        let Ok(pid) = timeout(START_DEADLINE, youngest).await else {
            return Some("no second worker within the deadline".to_owned());
        };
        if !freeze.is_zero() {
            let _ = kill(Pid::from_raw(pid), Signal::SIGSTOP); // fails if the worker has exited
            sleep(freeze).await;
        }
        // The kernel may have given the pid of an exited worker to another process.
        if sidecar.children().contains(&pid) {
            let _ = kill(Pid::from_raw(pid), Signal::SIGKILL); // fails if the worker has exited
        }
        None
    }
}

impl SoakFault {
    const ALL: [Self; 4] = [
        Self::KillWorker,
        Self::FreezeWorker,
        Self::RotateKeys,
        Self::RejectConfiguration,
    ];

    /// The fault's row in the report.
    fn name(self) -> &'static str {
        match self {
            Self::KillWorker => "worker SIGKILL",
            Self::FreezeWorker => "worker SIGSTOP, later SIGKILL",
            Self::RotateKeys => "keys rotated",
            Self::RejectConfiguration => "invalid filter configuration",
        }
    }
}
