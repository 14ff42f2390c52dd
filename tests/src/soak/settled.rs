//! What must be true when no client asks: nothing runs, nothing waits, everybody is back.
//! The sidecar's `/metrics` and `/__test/conc`, Envoy's `/stats`.

use std::time::Duration;

use tokio::time::{sleep, timeout};

use super::samples::Samples;
use crate::chaos::Report;
use crate::chaos::aftermath::expect;
use crate::chaos::chain::{Chain, WORKERS};
use crate::envoy::Envoy;
use crate::http::get;

/// Time for what ends by itself: a worker that waits for its restart (10 s), the last interrupted turn.
const SETTLED: Duration = Duration::from_secs(20);

/// Time between two looks at a condition.
const POLL: Duration = Duration::from_millis(50);

/// Descriptors that Envoy may have more than before any client came: connections that it keeps to the sidecar, closed
/// after a second of idleness, and to whoever asks its admin interface.
const SPARE_DESCRIPTORS: usize = 4;

/// Waits until the sidecar says that all is quiet, and returns its metrics of that moment.
pub(super) async fn settle(chain: &Chain, report: &mut Report) -> Samples {
    let quiet = async {
        loop {
            let samples = Samples::scrape(&chain.sidecar).await;
            if unsettled(&samples).is_none() {
                return samples;
            }
            sleep(POLL).await;
        }
    };
    let samples = match timeout(SETTLED, quiet).await {
        Ok(samples) => samples,
        Err(_elapsed) => Samples::scrape(&chain.sidecar).await,
    };
    if let Some(what) = unsettled(&samples) {
        report.add_violation(format!("it does not get quiet: {what}"));
    }
    let mut client = chain.sidecar.connect().await;
    let answer = client.send(get("/__test/conc")).await;
    let turns = answer.map(|answer| answer.json()["conc"].take());
    if turns.as_ref().ok() != Some(&0.into()) {
        report.add_violation(format!("slots that are taken without a client: {turns:?}"));
    }
    samples
}

/// The first gauge that is not as it is in peace.
#[expect(clippy::cast_precision_loss, reason = "workers are few")]
fn unsettled(samples: &Samples) -> Option<String> {
    let wanted = [
        ("sidecar_turns_active", 0.0),
        ("sidecar_queue_length", 0.0),
        ("sidecar_ready", 1.0),
        ("sidecar_workers{state=\"ready\"}", WORKERS as f64),
    ];
    let mut wrong = wanted
        .into_iter()
        .map(|(name, wanted)| (name, wanted, samples.value(name)));
    wrong
        .find(|(_, wanted, found)| *found != Some(*wanted))
        .map(|(name, wanted, found)| format!("{name} is {found:?} instead of {wanted}"))
}

/// Envoy has no request, no connection, and about the `descriptors` that it had.
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
        if timeout(SETTLED, quiet).await.is_err() {
            let left = envoy.stat(name).await;
            report.add_violation(format!("{name} is {left} when no client is there"));
        }
    }
    let more = || {
        envoy
            .descriptors()
            .saturating_sub(descriptors + SPARE_DESCRIPTORS)
    };
    report.add_count("descriptors of Envoy, before", descriptors);
    report.add_count("descriptors of Envoy, after", envoy.descriptors());
    expect(
        report,
        "descriptors of Envoy beyond what is spared",
        0,
        more,
    )
    .await;
}
