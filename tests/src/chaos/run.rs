//! The course of a chaos run: faults under load, then the checks.

use super::chain::Chain;
use super::injector::Injector;
use super::invariants;
use super::load::LoadGenerator;
use super::plan;
use super::report::Report;
use crate::processes;

/// Concurrent clients: more than the permits, so that some requests queue and some are rejected.
const CLIENTS: usize = 10;

/// Injects `kills` faults into a fresh chain, and reports the outcomes of all requests and the state afterwards.
pub async fn run(kills: usize, seed: u64) -> Report {
    processes::adopt_orphans();
    let mut report = Report::new(seed);
    let mut chain = Chain::start().await;
    let descriptors = chain.descriptors();
    let load = LoadGenerator::start(chain.envoy.address(), CLIENTS, seed);
    let mut injector = Injector::new(&mut chain.sidecar, &load, &mut report);
    for fault in plan::plan(kills, CLIENTS, seed) {
        injector.inject(&fault).await;
    }
    injector.finish().await;
    report.merge(load.stop().await);
    invariants::check(chain, descriptors, &mut report).await;
    report
}
