//! Memory of the sidecar, Envoy and the oldest worker while they are under load, and whether it grows.
//! proc(5), `status`; the medians of the first and the last third are held against each other.

use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use crate::chaos::Report;
use crate::chaos::chain::Chain;
use crate::processes::{resident_kib, runs_with};
use crate::sidecar::children_of;

/// Time between two looks.
const EVERY: Duration = Duration::from_millis(250);

/// Who is looked at, and by how many KiB the last third may be above the first: what a heap keeps for the next burst,
/// above what runs of three to five minutes have shown.
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

/// Looks that are being taken.
#[derive(Debug)]
pub(super) struct Footprint {
    task: JoinSet<Vec<[usize; 3]>>,
    stop: CancellationToken,
}

impl Footprint {
    /// Begins to look.
    pub(super) fn start(chain: &Chain) -> Self {
        let (sidecar, envoy) = (chain.sidecar.pid(), chain.envoy.pid());
        let stop = CancellationToken::new();
        let mut task = JoinSet::new();
        task.spawn(watch(sidecar, envoy, stop.clone()));
        Self { task, stop }
    }

    /// Stops looking, and says what grew.
    pub(super) async fn stop(mut self, report: &mut Report) {
        self.stop.cancel();
        let looks = self.task.join_next().await;
        let looks = looks.and_then(Result::ok).unwrap_or_default();
        let third = looks.len() / 3;
        for (index, (first, last, allowed)) in WATCHED.into_iter().enumerate() {
            let early = median(&looks[..third], index);
            let late = median(&looks[looks.len() - third..], index);
            report.add_count(first, early);
            report.add_count(last, late);
            if early == 0 || late > early + allowed {
                report.add_violation(format!("{last}: {late}, from {early}"));
            }
        }
    }
}

async fn watch(sidecar: i32, envoy: i32, stop: CancellationToken) -> Vec<[usize; 3]> {
    let mut looks = Vec::new();
    let mut ticks = interval(EVERY);
    while stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let children = children_of(sidecar).into_iter();
        let worker = children.clone().find(|pid| runs_with(*pid, "app-server"));
        let worker = worker.map_or(0, resident_kib);
        looks.push([resident_kib(sidecar), resident_kib(envoy), worker]);
    }
    looks
}

fn median(looks: &[[usize; 3]], index: usize) -> usize {
    let mut sizes: Vec<_> = looks.iter().map(|look| look[index]).collect();
    sizes.sort_unstable();
    sizes.get(sizes.len() / 2).copied().unwrap_or_default()
}
