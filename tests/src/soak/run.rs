//! Mixed traffic with faults for as long as one likes, and an account of everything afterwards.
//! The promises are the contract's sections 7 and 8; `crate::chaos` has the chain and the count of what is left behind.
//!
//! In the first third of the time sidecars are replaced too. Then all is quiet for a moment, and the last sidecar and
//! its oldest worker are spared until the end, so that a leak has time to show and counters can be held against what
//! clients saw. The seed decides what clients ask and which faults they meet; what that meets is up to the machine.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use crate::chaos::chain::Chain;
use crate::chaos::{Report, aftermath};
use crate::processes;

use super::client::{CLIENTS, Clients, Part};
use super::faults::Faults;
use super::footprint::Footprint;
use super::home::Home;
use super::keys::KeyRing;
use super::ledger::Ledger;
use super::records::Records;
use super::samples::Samples;
use super::settled;

/// Soaks a fresh chain for `time`, and reports what was seen meanwhile and afterwards.
pub async fn run(time: Duration, seed: u64) -> Report {
    processes::adopt_orphans();
    let mut rng = Rng::with_seed(seed);
    let mut report = Report::new(seed);
    let mut chain = Chain::start().await;
    let baseline = Baseline::of(&chain);
    let ring = Arc::new(KeyRing::of(CLIENTS));
    let wrong = ring.rotate(&chain.envoy).await;
    assert_eq!(wrong, None, "the first keys open the door");

    let clients = Clients::start(Part::Replaced, &ring, &chain, rng.fork());
    let mut faults = Faults::new(rng.fork(), &ring, &mut report);
    faults.with_restarts(&mut chain, time / 3).await;
    let early = clients.stop(&mut report).await;

    let before = Books::read(&chain, &mut report).await;
    let footprint = Footprint::start(&chain);
    let clients = Clients::start(Part::Spared, &ring, &chain, rng.fork());
    let mut faults = Faults::new(rng, &ring, &mut report);
    faults.without_restarts(&chain, time - time / 3).await;
    let late = clients.stop(&mut report).await;
    footprint.stop(&mut report).await;
    let after = Books::read(&chain, &mut report).await;

    after.check(&before, early, late, &mut report);
    after.records.check_usage(&chain.sidecar, &mut report).await;
    baseline.check(chain, &mut report).await;
    report
}

/// What the sidecar has written down and counted at a quiet moment.
#[derive(Debug)]
struct Books {
    samples: Samples,
    records: Records,
}

impl Books {
    async fn read(chain: &Chain, report: &mut Report) -> Self {
        let samples = settled::settle(chain, report).await;
        let records = Records::read(&chain.sidecar);
        Self { samples, records }
    }

    /// They agree with each other, and with what the clients have seen: the late ones since `before`.
    fn check(&self, before: &Self, early: Ledger, late: Ledger, report: &mut Report) {
        let (from, to) = (&before.samples, &self.samples);
        let since = before.records.len();
        self.records.check_counters(since, from, to, report);
        late.check_counters(from, to, report);
        Ledger::joined([early, late]).check_records(&self.records, report);
    }
}

/// What there was before any client came.
#[derive(Debug)]
struct Baseline {
    home: Home,
    sidecar_descriptors: usize,
    envoy_descriptors: usize,
}

impl Baseline {
    fn of(chain: &Chain) -> Self {
        Self {
            home: Home::of(&chain.sidecar),
            sidecar_descriptors: chain.descriptors(),
            envoy_descriptors: chain.envoy.descriptors(),
        }
    }

    /// There is no more than that, and the chain stops without leaving anything.
    async fn check(self, chain: Chain, report: &mut Report) {
        settled::check_envoy(&chain.envoy, self.envoy_descriptors, report).await;
        self.home.check(&chain.sidecar, report);
        aftermath::check(chain, self.sidecar_descriptors, report).await;
    }
}
