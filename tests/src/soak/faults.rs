//! What goes wrong or changes while clients talk; what clients and the model do wrong is in `talk`.
//! Each kind comes once before one comes twice, in an order that the seed decides.

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

/// Longest time that a frozen worker stays so, in milliseconds: longer than the silence that a turn is allowed.
const MAX_FREEZE_MS: u64 = 5000;

/// Longest wait for a worker to strike: the longest pause before its restart (10 s), and its start.
const START_DEADLINE: Duration = Duration::from_secs(20);

/// Time between two looks at a condition.
const POLL: Duration = Duration::from_millis(10);

#[derive(Debug, Clone, Copy)]
enum Fault {
    KillWorker,
    FreezeWorker,
    RotateKeys,
    RefuseFilter,
}

/// Faults of one part of the run.
#[derive(Debug)]
pub(super) struct Faults<'a> {
    rng: Rng,
    ring: &'a KeyRing,
    report: &'a mut Report,
    /// Those that come before any comes again.
    next: Vec<Fault>,
}

impl<'a> Faults<'a> {
    pub(super) fn new(rng: Rng, ring: &'a KeyRing, report: &'a mut Report) -> Self {
        Self {
            rng,
            ring,
            report,
            next: Vec::new(),
        }
    }

    /// For this time, and for one round at least; in each round the sidecar is replaced too.
    pub(super) async fn with_restarts(&mut self, chain: &mut Chain, time: Duration) {
        let until = Instant::now() + time;
        loop {
            self.pause().await;
            self.replace(&mut chain.sidecar).await;
            for _ in 0..Fault::ALL.len() {
                self.strike(chain).await;
            }
            if Instant::now() >= until {
                return;
            }
        }
    }

    /// For this time; the sidecar lives, and so does its oldest worker.
    pub(super) async fn without_restarts(&mut self, chain: &Chain, time: Duration) {
        let until = Instant::now() + time;
        while Instant::now() < until {
            self.strike(chain).await;
        }
    }

    async fn pause(&mut self) {
        sleep(Duration::from_millis(self.rng.u64(..MAX_PAUSE_MS))).await;
    }

    async fn strike(&mut self, chain: &Chain) {
        self.pause().await;
        if self.next.is_empty() {
            self.next = Fault::ALL.to_vec();
            self.rng.shuffle(&mut self.next);
        }
        let Some(fault) = self.next.pop() else {
            return;
        };
        let wrong = match fault {
            Fault::KillWorker => self.kill(&chain.sidecar, Duration::ZERO).await,
            Fault::FreezeWorker => {
                let freeze = Duration::from_millis(self.rng.u64(..MAX_FREEZE_MS));
                self.kill(&chain.sidecar, freeze).await
            }
            Fault::RotateKeys => self.ring.rotate(&chain.envoy).await,
            Fault::RefuseFilter => KeyRing::refuse(&chain.envoy).await,
        };
        self.note(fault.name(), wrong);
    }

    fn note(&mut self, name: &'static str, wrong: Option<String>) {
        self.report.add_fault(name);
        if let Some(wrong) = wrong {
            self.report.add_violation(format!("{name}: {wrong}"));
        }
    }

    /// SIGTERM, and a successor at once; the predecessor ends well.
    async fn replace(&mut self, sidecar: &mut Sidecar) {
        let predecessor = sidecar.upgrade().await;
        let code = predecessor.wait().await;
        sidecar.wait_until_ready().await;
        let wrong = (code != Some(0)).then(|| format!("it ended with {code:?}"));
        self.note("sidecar SIGTERM, and a successor", wrong);
    }

    /// SIGSTOP and later SIGKILL to the youngest worker, once there are two.
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
            return Some("there is no second worker".to_owned());
        };
        if !freeze.is_zero() {
            let _gone = kill(Pid::from_raw(pid), Signal::SIGSTOP);
            sleep(freeze).await;
        }
        // A pid that is no longer a child of the sidecar may be anybody's by now.
        if sidecar.children().contains(&pid) {
            let _gone = kill(Pid::from_raw(pid), Signal::SIGKILL);
        }
        None
    }
}

impl Fault {
    const ALL: [Self; 4] = [
        Self::KillWorker,
        Self::FreezeWorker,
        Self::RotateKeys,
        Self::RefuseFilter,
    ];

    /// Its row in the report.
    fn name(self) -> &'static str {
        match self {
            Self::KillWorker => "worker SIGKILL",
            Self::FreezeWorker => "worker SIGSTOP, later SIGKILL",
            Self::RotateKeys => "keys rotated",
            Self::RefuseFilter => "wrong filter configuration",
        }
    }
}
