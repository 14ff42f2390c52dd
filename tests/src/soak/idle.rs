//! The idle state of the chain between two phases: no turns, no queue, all workers ready.
//! Sources: the sidecar's `/metrics` and `/__test/conc`, Envoy's `/stats`.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::samples::Samples;
use crate::chaos::Report;
use crate::chaos::chain::{Chain, WORKERS};
use crate::chaos::invariants::expect;
use crate::envoy::Envoy;
use crate::http::get;

/// Deadline for the last recoveries: a worker that waits for its restart (10 s), the last interrupted turn.
const IDLE_DEADLINE: Duration = Duration::from_secs(20);

/// Time between two checks of a condition.
const POLL: Duration = Duration::from_millis(50);

/// Descriptors that Envoy may have beyond those before the first client: connections to the sidecar, which it closes after
/// a second without requests, and those of the admin interface.
const SPARE_DESCRIPTORS: usize = 4;

/// Waits until the sidecar is idle, and returns its metrics at that moment.
pub(super) async fn wait_until_idle(chain: &Chain, report: &mut Report) -> Samples {
    let idle = async {
        loop {
            let samples = Samples::scrape(&chain.sidecar).await;
            if first_busy_gauge(&samples).is_none() {
                return samples;
            }
            sleep(POLL).await;
        }
    };
    let samples = match timeout(IDLE_DEADLINE, idle).await {
        Ok(samples) => samples,
        Err(_elapsed) => Samples::scrape(&chain.sidecar).await,
    };
    if let Some(gauge) = first_busy_gauge(&samples) {
        report.add_violation(format!("the sidecar does not become idle: {gauge}"));
    }
    let mut client = chain.sidecar.connect().await;
    let response = client.send(get("/__test/conc")).await;
    let turns = response.map(|response| response.json()["conc"].take());
    if turns.as_ref().ok() != Some(&0.into()) {
        report.add_violation(format!("running turns without a client: {turns:?}"));
    }
    samples
}

/// The first gauge that differs from its idle value.
#[expect(clippy::cast_precision_loss, reason = "workers are few")]
fn first_busy_gauge(samples: &Samples) -> Option<String> {
    let expected = [
        ("sidecar_turns_active", 0.0),
        ("sidecar_queue_length", 0.0),
        ("sidecar_ready", 1.0),
        ("sidecar_workers{state=\"ready\"}", WORKERS as f64),
    ];
    expected
        .into_iter()
        .map(|(name, expected)| (name, expected, samples.value(name)))
        .find(|(_, expected, found)| *found != Some(*expected))
        .map(|(name, expected, found)| format!("{name} is {found:?} instead of {expected}"))
}

/// Checks that Envoy has no requests, no connections, and about the `descriptors` of its start.
pub(super) async fn check_envoy(envoy: &Envoy, descriptors: usize, report: &mut Report) {
    for name in [
        "http.public.downstream_rq_active",
        "http.public.downstream_cx_active",
        "cluster.sidecar.upstream_rq_active",
        "cluster.sidecar.upstream_rq_pending_active",
        "cluster.sidecar.upstream_cx_active",
    ] {
        let quiet = async {
            while envoy.stat(name).await != 0 {
                sleep(POLL).await;
            }
        };
        if timeout(IDLE_DEADLINE, quiet).await.is_err() {
            let left = envoy.stat(name).await;
            report.add_violation(format!("{name} is {left} without clients"));
        }
    }
    let more = || {
        envoy
            .descriptors()
            .saturating_sub(descriptors + SPARE_DESCRIPTORS)
    };
    report.add_count("descriptors of Envoy, before", descriptors);
    report.add_count("descriptors of Envoy, after", envoy.descriptors());
    expect(report, "descriptors of Envoy beyond the tolerance", 0, more).await;
}
