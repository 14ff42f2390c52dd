//! The course of a soak: a phase with replaced sidecars, a phase with one sidecar, and the checks.

use std::sync::Arc;
use std::time::Duration;

use fastrand::Rng;

use crate::chaos::chain::{Chain, start_agents};
use crate::chaos::{Report, invariants};
use crate::processes;

use super::client::{CLIENTS, Clients, RunPhase};
use super::codex_home::CodexHome;
use super::idle;
use super::injector::SoakInjector;
use super::keys::KeyRing;
use super::memory::MemoryWatch;
use super::records::UsageRecords;
use super::request_log::RequestLog;
use super::samples::Samples;

/// Soaks a fresh chain for `time`, and reports outcomes and violations.
pub async fn run(time: Duration, seed: u64) -> Report {
    processes::adopt_orphans();
    let mut rng = Rng::with_seed(seed);
    let mut report = Report::new(seed);
    let mut chain = Chain::start().await;
    let baseline = Baseline::of(&chain);
    let ring = Arc::new(KeyRing::new(CLIENTS));
    let violation = ring.rotate(&chain.envoy).await;
    assert_eq!(violation, None, "the first keys are accepted");

    let clients = Clients::start(RunPhase::Restarts, &ring, &chain, rng.fork());
    let mut faults = SoakInjector::new(rng.fork(), &ring, &mut report);
    faults.with_restarts(&mut chain, time / 3).await;
    let early = clients.stop(&mut report).await;

    // The sidecar of the second phase may not have had a turn of an agent yet.
    start_agents(&chain.sidecar).await;
    let before = UsageSnapshot::read(&chain, &mut report).await;
    let memory = MemoryWatch::start(&chain);
    let clients = Clients::start(RunPhase::Stable, &ring, &chain, rng.fork());
    let mut faults = SoakInjector::new(rng, &ring, &mut report);
    faults.without_restarts(&chain, time - time / 3).await;
    let late = clients.stop(&mut report).await;
    memory.stop(&mut report).await;
    let after = UsageSnapshot::read(&chain, &mut report).await;

    after.check(&before, early, late, &mut report);
    after.records.check_usage(&chain.sidecar, &mut report).await;
    baseline.check(chain, &mut report).await;
    report
}

/// The sidecar's usage records and metrics at an idle moment.
#[derive(Debug)]
struct UsageSnapshot {
    samples: Samples,
    records: UsageRecords,
}

impl UsageSnapshot {
    async fn read(chain: &Chain, report: &mut Report) -> Self {
        let samples = idle::wait_until_idle(chain, report).await;
        let records = UsageRecords::read(&chain.sidecar);
        Self { samples, records }
    }

    /// Checks that records and metrics agree with each other and with the clients' logs; `late` has the requests since
    /// `before`.
    fn check(&self, before: &Self, early: RequestLog, late: RequestLog, report: &mut Report) {
        let (from, to) = (&before.samples, &self.samples);
        let since = before.records.len();
        self.records.check_counters(since, from, to, report);
        late.check_counters(from, to, report);
        RequestLog::joined([early, late]).check_records(&self.records, report);
    }
}

/// Files and descriptors before the first client.
#[derive(Debug)]
struct Baseline {
    home: CodexHome,
    sidecar_descriptors: usize,
    envoy_descriptors: usize,
}

impl Baseline {
    fn of(chain: &Chain) -> Self {
        Self {
            home: CodexHome::of(&chain.sidecar),
            sidecar_descriptors: chain.descriptors(),
            envoy_descriptors: chain.envoy.descriptors(),
        }
    }

    /// Checks for growth since the start, and that the chain stops without leftovers.
    async fn check(self, chain: Chain, report: &mut Report) {
        idle::check_envoy(&chain.envoy, self.envoy_descriptors, report).await;
        self.home.check(&chain.sidecar, report);
        invariants::check(chain, self.sidecar_descriptors, report).await;
    }
}
