//! Random deaths under load: real clients through the whole chain, while sidecar, workers and clients are killed.
//! The promises that must hold are the contract's section 7: an honest end for every turn, and nothing left behind.
//!
//! The seed decides what is killed, in which order and after which pause, and what each client asks and how it reads;
//! what that meets is up to the machine.

use super::aftermath;
use super::chain::Chain;
use super::load::Load;
use super::plan;
use super::report::Report;
use super::storm::Storm;
use crate::processes;

/// Clients that ask at the same time: more than there are slots, so that some wait and some are refused.
const CLIENTS: usize = 10;

/// Lets a storm of `kills` pass over a fresh chain, and reports what was seen in it and after it.
pub async fn run(kills: usize, seed: u64) -> Report {
    processes::adopt_orphans();
    let mut report = Report::new(seed);
    let mut chain = Chain::start().await;
    let before = chain.descriptors();
    let load = Load::start(chain.envoy.address(), CLIENTS, seed);
    let mut storm = Storm::new(&mut chain.sidecar, &load, &mut report);
    for blow in plan::plan(kills, CLIENTS, seed) {
        storm.strike(&blow).await;
    }
    storm.pass().await;
    report.absorb(load.stop().await);
    aftermath::check(chain, before, &mut report).await;
    report
}
