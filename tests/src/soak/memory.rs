//! Memory of the sidecar, Envoy and the oldest worker under load, and a limit on its growth.
//! The source is proc(5), `status`; the medians of the first and the last third are compared.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::chaos::Report;
use crate::chaos::chain::Chain;
use crate::processes::{children_of, has_argument, resident_kib};

/// Time between two samples.
const EVERY: Duration = Duration::from_millis(250);

/// The measured processes, and the KiB by which the last third may exceed the first: memory that an allocator keeps after
/// a burst, above the growth that runs of three to five minutes have shown.
const WATCHED: [(&str, &str, usize); 3] = [
    (
        "sidecar KiB, first third",
        "sidecar KiB, last third",
        8 << 10,
    ),
    ("Envoy KiB, first third", "Envoy KiB, last third", 24 << 10),
    (
        "worker KiB, first third",
        "worker KiB, last third",
        48 << 10,
    ),
];

/// A running measurement.
#[derive(Debug)]
pub(super) struct MemoryWatch {
    task: JoinSet<Vec<[usize; 3]>>,
    stop: CancellationToken,
}

impl MemoryWatch {
    /// Starts sampling.
    pub(super) fn start(chain: &Chain) -> Self {
        let (sidecar, envoy) = (chain.sidecar.pid(), chain.envoy.pid());
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(watch(sidecar, envoy, stop.clone()));
        Self { task, stop }
    }

    /// Stops sampling and reports growth beyond the limits.
    pub(super) async fn stop(mut self, report: &mut Report) {
        self.stop.cancel();
        let samples = self
            .task
            .join_next()
            .await
            .and_then(Result::ok)
            .unwrap_or_default();
        let third = samples.len() / 3;
        for (index, (first, last, allowed)) in WATCHED.into_iter().enumerate() {
            let early = median(&samples[..third], index);
            let late = median(&samples[samples.len() - third..], index);
            report.add_count(first, early);
            report.add_count(last, late);
            if early == 0 || late > early + allowed {
                report.add_violation(format!("{last}: {late}, {early} in the first third"));
            }
        }
    }
}

async fn watch(sidecar: i32, envoy: i32, stop: CancellationToken) -> Vec<[usize; 3]> {
    let mut samples = Vec::new();
    let mut ticks = interval(EVERY);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let worker = children_of(sidecar)
            .into_iter()
            .find(|pid| has_argument(*pid, "app-server"))
            .map_or(0, resident_kib);
        samples.push([resident_kib(sidecar), resident_kib(envoy), worker]);
    }
    samples
}

fn median(samples: &[[usize; 3]], index: usize) -> usize {
    let mut sizes: Vec<_> = samples.iter().map(|sample| sample[index]).collect();
    sizes.sort_unstable();
    sizes.get(sizes.len() / 2).copied().unwrap_or_default()
}
